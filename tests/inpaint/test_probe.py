from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from made_networks import KEYS, made_graph, write_network

from mend.errors import InputError
from mend.inpaint.contracts import NETWORKS, SHIPPED, Contract
from mend.inpaint.networks import load_network
from mend.inpaint.probe import probe
from mend.models.checkpoint import load_model

BLUE = np.array([0.08, 0.2, 0.8], np.float32)


def keys(name: str) -> dict[str, Any]:
    """The contract of a shipped network, 64 pixels wide instead of 512."""
    contract = SHIPPED[name]
    size = {"multiple": None, "fixed": 64} if contract.fixed else {"multiple": contract.multiple, "largest": 64}
    names = ("image", "mask", "output", "dtype", "colours", "image_range", "output_range", "mask_hole", "mask_known", "grow")
    return {**{key: getattr(contract, key) for key in names}, **size}


def graph(name: str, **how: Any) -> Any:
    contract = SHIPPED[name]
    named = ("image", "mask", "output", "dtype", "image_range", "output_range", "mask_hole", "mask_known")
    return made_graph(**({key: getattr(contract, key) for key in named} | {"fixed": 64 if contract.fixed else None} | how))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_that_keeps_a_shipped_contract_is_taken(tmp_path: Path, name: str):
    network = load_network(write_network(tmp_path, graph(name), **keys(name)))
    image = np.zeros((1, 3, 50, 40), np.float32)
    image[:, 0], image[:, 2] = 0.8, 0.2
    hole = np.zeros((1, 1, 50, 40), np.float32)
    hole[..., 20:30, 10:20] = 1
    raw = network(image * (1 - hole), hole)
    assert raw.shape == image.shape
    assert raw.dtype == np.float32
    assert raw == pytest.approx(image, abs=0.01)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("inverted", "With mask_hole = "),
        ("range", "With output_range = "),
        ("swapped", "comes back blue"),
        ("blue", "filled blue"),
        ("black", "is filled with (0, 0, 0)"),
        ("NaN", "no numbers (NaN or infinite)"),
        ("half", "expected the same"),
    ],
)
def test_a_network_that_breaks_a_shipped_contract_is_refused(tmp_path: Path, name: str, how: str, says: str):
    contract = SHIPPED[name]
    if (name, how) == ("migan", "range"):
        says = "pixels that are known come back"  # in bytes 0 and 1 are too few levels to say what they were
    if (name, how) in (("migan", "NaN"), ("lama-int8", "blue")):
        return  # whole numbers have no NaN; and where the order of colours is found out, blue may be red
    side = 64 if contract.fixed else 1
    made = {
        "inverted": {"mask_hole": contract.mask_known, "mask_known": contract.mask_hole},
        "range": {"output_range": (0, 1) if contract.output_range == (0, 255) else (0, 255)},
        "swapped": {"swaps": True},
        "blue": {"pattern": np.ones((3, side, side), np.float32) * BLUE[:, None, None]},
        "black": {"pattern": np.zeros((3, side, side), np.float32)},
    }.get(how, {"last": how})
    file = write_network(tmp_path, graph(name, **made), **keys(name))
    with pytest.raises(InputError, match="net.onnx") as caught:
        load_network(file)
    assert says in str(caught.value)


def test_values_far_outside_their_range_are_seen(tmp_path: Path):
    file = write_network(tmp_path, made_graph(output_range=(0, 255)))
    with pytest.raises(InputError, match=r"runs from 20\.\d+ to 216\.\d+, not from 0 to 1. With output_range = \[0, 255\]"):
        load_network(file)


def test_a_range_that_is_not_so_different_is_seen_too(tmp_path: Path):
    with pytest.raises(InputError, match=r"come back 3\d % of white off, on average. With output_range = \[0, 1\]"):
        load_network(write_network(tmp_path, made_graph(), output_range=[-1, 1]))


@pytest.mark.parametrize("given", [(0, 255), (-1, 1)])
def test_another_range_of_the_image_is_named(tmp_path: Path, given: tuple[float, float]):
    file = write_network(tmp_path, made_graph(image_range=given))
    with pytest.raises(InputError) as caught:
        load_network(file)
    assert f"image_range = [{given[0]}, {given[1]}]" in str(caught.value)


def test_a_network_whose_known_pixels_are_lost_says_so(tmp_path: Path):
    graph = made_graph(keeps_known=False)
    with pytest.raises(InputError, match="pixels that are known come back 37 % of white off"):
        load_network(write_network(tmp_path, graph))
    network = load_network(write_network(tmp_path, graph, keeps_known=False))
    assert network.contract.keeps_known is False
    inverted = made_graph(keeps_known=False, mask_hole=0, mask_known=1)
    with pytest.raises(InputError, match="With mask_hole = 0 and mask_known = 1"):
        load_network(write_network(tmp_path, inverted, keeps_known=False))


@pytest.mark.parametrize("off", [0.05, 0.12])
def test_known_pixels_need_only_come_back_nearly(tmp_path: Path, off: float):
    """A network that paints what is known after."""
    load_network(write_network(tmp_path, made_graph(output_range=(off, 1 + off))))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_the_order_of_colours_is_found_where_nobody_says(tmp_path: Path, order: str):
    """The network gives the third colour that it is given a share of the first: right for the order it was made for."""
    mean = np.array([0.775, 0.25, 0.08])
    tint = np.diag([1.0, 1.0, 0.0])
    tint[2, 0] = mean[2] / mean[0]
    tint = tint if order == "RGB" else tint[::-1, ::-1]
    network = load_network(write_network(tmp_path, made_graph(tint=tint), colours="probe"))
    assert network.contract.colours == order


@pytest.mark.parametrize("name", ["autoencoder", "unet", "unet-simple", "unet-aspp"])
def test_networks_that_paint_known_pixels_after_are_told_from_wrong_calls(name: str):
    """Trained ones, at a size that they were not trained for."""
    network, _ = load_model(ROOT / f"results/cifar10-object-v1/models/{name}-w16")
    network.eval()

    @torch.inference_mode()
    def run(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return network(torch.from_numpy(image), torch.from_numpy(mask)).numpy()

    right = Contract(**{"file": name, **KEYS, "image_range": (0, 1), "output_range": (0, 1), "multiple": 8})
    probe(run, right, name, "net.toml")
    wrong = {"output_range": (0, 255)}, {"output_range": (-1, 1)}, {"image_range": (0, 255), "output_range": (0, 255)}
    opposite = ({"mask_hole": 0, "mask_known": 1},) if name in ("unet-simple", "unet-aspp") else ()  # the others see no mask
    for keys in wrong + opposite:
        with pytest.raises(InputError, match="contradicts"):
            probe(run, replace(right, **keys), name, "net.toml")


def test_the_order_is_rgb_where_both_fill_alike(tmp_path: Path):
    assert load_network(write_network(tmp_path, made_graph(), colours="probe")).contract.colours == "RGB"


def test_one_run_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mend.inpaint.graphs import OnnxGraph

    seen, call = [], OnnxGraph.__call__
    monkeypatch.setattr(OnnxGraph, "__call__", lambda self, *given: seen.append(given[0].shape) or call(self, *given))
    load_network(write_network(tmp_path, made_graph(fixed=64), multiple=None, fixed=64))
    assert seen == [(1, 3, 64, 64)]
    seen.clear()
    load_network(write_network(tmp_path, made_graph(), multiple=24))
    assert seen == [(1, 3, 264, 264)], "as small as it may be, from 256 pixels on"
    seen.clear()
    load_network(write_network(tmp_path, made_graph(), colours="probe"))
    assert len(seen) == 2
