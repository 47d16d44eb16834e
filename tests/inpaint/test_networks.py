import hashlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import mend, peak, smooth
from hypothesis import given, settings
from hypothesis import strategies as st
from made_networks import made_graph, write_network, write_toml
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from mend.errors import InputError
from mend.filling.load import load_filler
from mend.images import Picture, mask_out
from mend.inpaint.arrays import halve
from mend.inpaint.graphs import count_weights
from mend.inpaint.networks import Network, is_network, load_network, plan_windows
from mend.inpaint.onnx import GRAPH, PyramidOnnx
from mend.inpaint.plan import make_plan


def scene(height: int, width: int, *boxes: tuple[int, int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image and its hole: rows from, to, columns from, to."""
    hole = np.zeros((1, 1, height, width), np.float32)
    for top, bottom, left, right in boxes:
        hole[..., top:bottom, left:right] = 1
    return Picture(smooth(height, width, 3)).image(), hole


def fixed(tmp_path: Path, side: int = 64, **how: Any) -> Network:
    return load_network(write_network(tmp_path, made_graph(fixed=side, **how), multiple=None, fixed=side))


# --- Bad files -------------------------------------------------------------------------------------------------------


def test_a_file_that_is_no_network_is_refused(tmp_path: Path):
    whole = made_graph().SerializeToString()
    for content in (b"", b"these are no weights", whole[: len(whole) // 2], b"\x89PNG\r\n\x1a\n"):
        with pytest.raises(InputError, match="net.onnx cannot be run.") as caught:
            load_network(write_network(tmp_path, content))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("opset 99", "It is of Opset 99, later than this ONNX Runtime knows. Run: pip install -U onnxruntime."),
        ("opset 5", "Its runtime says: This is an invalid model."),
        ("IR version 99", "It is of IR version 99, later than this ONNX Runtime knows."),
        ("operator", "It needs an operator that this ONNX Runtime does not have: No Op registered for Unheard."),
    ],
)
def test_a_network_for_another_runtime_says_what_to_do(tmp_path: Path, how: str, says: str, capfd: pytest.CaptureFixture[str]):
    model = made_graph(opset=int(how[6:]) if "opset" in how else 17)
    if how == "operator":
        model.graph.node[0].op_type = "Unheard"
    elif "IR" in how:
        model.ir_version = 99
    with pytest.raises(InputError, match="net.onnx cannot be run. ") as caught:
        load_network(write_network(tmp_path, model))
    assert says in str(caught.value)
    assert capfd.readouterr().err == "", "the library says nothing besides"


def test_a_network_with_one_input_is_refused(tmp_path: Path):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, "h", "w"])]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["output"])], "one", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(InputError, match=r"has 1 input \(x\); expected an image and a mask"):
        load_network(write_network(tmp_path, model))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"image": "mask", "mask": "image"}, r"the image of net.onnx, 'mask', has the shape \['batch', 1, .*swapped"),
        ({"image": 1, "mask": 0}, "swapped"),
        ({"image": "imgae"}, "unknown input of net.onnx 'imgae'. Did you mean 'image'?"),
        ({"output": 3}, "unknown output of net.onnx '3'. Known: output"),
        ({"dtype": "uint8", "image_range": [0, 255]}, r"is a tensor\(float\); its contract says uint8"),
        ({"multiple": None, "fixed": 64}, None),
    ],
)
def test_a_graph_that_contradicts_its_contract_is_refused(tmp_path: Path, keys: dict[str, Any], says: str | None):
    file = write_network(tmp_path, made_graph(), **keys)
    if says is None:  # a graph of any size may be used at one
        assert load_network(file).contract.fixed == 64
        return
    with pytest.raises(InputError, match=says):
        load_network(file)


def test_a_graph_of_one_size_is_used_at_that_size(tmp_path: Path):
    for keys, says in (({}, "multiple = 1, which is no fixed size"), ({"multiple": None, "fixed": 32}, "fixed = 32")):
        with pytest.raises(InputError, match=says):
            load_network(write_network(tmp_path, made_graph(fixed=64), **keys))


def test_inputs_may_be_named_or_counted(tmp_path: Path):
    graph = made_graph(image="img", mask="m", output="out")
    for keys in ({"image": "img", "mask": "m", "output": "out"}, {"image": 0, "mask": 1, "output": 0}):
        assert load_network(write_network(tmp_path, graph, **keys)).name == "net"


def test_a_file_needs_its_contract(tmp_path: Path):
    file = write_network(tmp_path, made_graph())
    file.with_suffix(".toml").unlink()
    with pytest.raises(InputError, match="has no net.toml beside it"):
        load_network(file)
    write_toml(file.with_suffix(".toml"), file="other.onnx")
    with pytest.raises(InputError, match="net.toml describes other.onnx, not net.onnx"):
        load_network(file)
    with pytest.raises(InputError, match="does not exist"):
        load_network(tmp_path / "other.onnx")
    with pytest.raises(InputError, match="Did you mean 'lama'"):
        load_network("lamma")


def test_another_file_than_the_contract_describes_is_refused(tmp_path: Path):
    graph = made_graph().SerializeToString()
    digest = hashlib.sha256(graph).hexdigest()
    load_network(write_network(tmp_path, graph, sha256=digest, bytes=len(graph)))
    with pytest.raises(InputError, match="is not what net.toml describes: it has the SHA-256 .*Fetch it again"):
        load_network(write_network(tmp_path, graph, sha256="0" * 64))
    with pytest.raises(InputError, match=f"it has {len(graph):,} bytes; 12 were expected"):
        load_network(write_network(tmp_path, graph, bytes=12))


def test_a_shipped_contract_is_known_by_the_name_of_its_file(tmp_path: Path):
    for name in ("lama_fp32.onnx", "big-lama.pt"):
        (tmp_path / name).write_bytes(b"half")
        with pytest.raises(InputError, match="lama.toml describes: it has 4 bytes; 20"):
            load_network(tmp_path / name)


def test_what_is_a_network():
    assert all(map(is_network, ["lama", "migan", "lama-int8", "x/y.onnx", Path("BIG.PT")]))
    assert not any(map(is_network, ["telea", "runs/mine", "big-lama", "model.safetensors"]))


def test_a_model_is_a_network_by_its_name_too(tmp_path: Path):
    """Command, folders, studio and evaluation load by this."""
    assert load_filler(write_network(tmp_path, made_graph(), "mine.onnx")).name == "mine"
    assert load_filler("telea").name == "telea"
    with pytest.raises(InputError, match="migan_pipeline_v2.onnx of migan is not in"):
        load_filler("migan")


def test_the_command_line_fills_with_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = write_network(tmp_path, made_graph(fixed=32), multiple=None, fixed=32)
    (tmp_path / "photos").mkdir()
    pixels = smooth(90, 120, 1)
    mask = np.zeros((90, 120), np.uint8)
    mask[20:70, 30:80] = 255
    for file, array in (("photos/a.png", pixels), ("m.png", mask)):
        Image.fromarray(array).save(tmp_path / file)
    photo, mask_file = tmp_path / "photos/a.png", tmp_path / "m.png"
    code, out, err = mend(capsys, "fill", photo, "--mask", mask_file, "--model", model, "-o", tmp_path / "o.png")
    assert code == 0, err
    assert "net sees 32 pixels a side: wider holes are filled at 1/4 of the size" in out
    filled = np.asarray(Image.open(tmp_path / "o.png"))
    assert np.array_equal(filled[mask == 0], pixels[mask == 0])
    assert not np.array_equal(filled, pixels)
    code, _, err = mend(capsys, "fill", tmp_path / "photos", "--mask", mask_file, "--model", model, "-o", tmp_path / "out")
    assert code == 0, err
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), filled)
    write_toml(model.with_suffix(".toml"), file=model.name, multiple=None, fixed=32, mask_hole=0, mask_known=1)
    code, _, err = mend(capsys, "fill", photo, "--mask", mask_file, "--model", model, "-o", tmp_path / "o.png")
    assert code == 1
    assert "net.onnx contradicts net.toml" in err


# --- A network that goes wrong later ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("gone", "says"), [(np.nan, "NaN or infinite"), (None, "returned the shape")])
def test_what_a_network_returns_is_looked_at_every_time(tmp_path: Path, gone: float | None, says: str):
    network, (image, hole) = load_network(write_network(tmp_path, made_graph())), scene(40, 40, (10, 20, 10, 20))

    class Session:
        def run(self, *given: Any) -> list[np.ndarray]:
            return [image[..., :-1] if gone is None else image * gone]

    network.run.session = Session()
    with pytest.raises(InputError, match=says):
        network(mask_out(image, hole), hole)


def test_a_network_that_fails_on_a_size_says_which(tmp_path: Path):
    network, (image, hole) = load_network(write_network(tmp_path, made_graph(fixed=64), multiple=None, fixed=64)), scene(40, 40)
    with pytest.raises(InputError, match="net.onnx stopped on an image of 40×40 pixels"):
        network.run(image, hole)


# --- Windows ---------------------------------------------------------------------------------------------------------


def test_a_hole_that_fits_is_filled_by_the_network_alone(tmp_path: Path):
    pattern = np.random.default_rng(0).random((3, 64, 64), np.float32) * [[[0.4]], [[0.2]], [[0.2]]] + [[[0.5]], [[0.1]], [[0]]]
    network = fixed(tmp_path, pattern=pattern)
    image, hole = scene(150, 170, (60, 90, 70, 90))
    raw = network(mask_out(image, hole), hole)
    assert network.notes(hole) == []
    place = raw[..., 60:90, 70:90]
    starts = [
        (y, x) for y in range(34) for x in range(44) if np.allclose(place[0], pattern[:, y : y + 30, x : x + 20], atol=1e-6)
    ]
    assert len(starts) == 1, "it is the network's own filling"
    assert abs(starts[0][0] - 17) <= 4, "from the middle of its window"
    assert np.array_equal(raw * (1 - hole), mask_out(image, hole))


def test_a_wide_hole_is_filled_small_and_refined_by_the_network_in_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    y, x = np.mgrid[:64, :64] / 64
    pattern = np.stack([0.7 + 0.1 * np.sin(40 * x), 0.2 + 0.1 * y, 0.1 + 0 * x]).astype(np.float32)
    network = fixed(tmp_path, pattern=pattern)
    image, hole = scene(300, 260, (100, 200, 80, 190))
    starts: list[np.ndarray] = []
    finer = PyramidOnnx.__call__

    def spy(self: PyramidOnnx, masked: np.ndarray, hole: np.ndarray, start: np.ndarray) -> np.ndarray:
        starts.append(start)
        return finer(self, masked, hole, start=start)

    monkeypatch.setattr(PyramidOnnx, "__call__", spy)
    raw = network(mask_out(image, hole), hole)
    (start,) = starts
    (window,) = plan_windows(hole, 64)
    assert window.shrunk == 4, "50 pixels to the nearest known one; a third of 64 are allowed"
    rows, columns = window.tile.seen
    assert start.shape[-2:] == (-(-(rows.stop - rows.start) // 4), -(-(columns.stop - columns.start) // 4))
    assert start.max(initial=0) <= 1
    assert np.array_equal(raw * (1 - hole), mask_out(image, hole)), "known pixels come back"
    cells = raw[..., 104:196, 84:184].reshape(1, 3, 23, 4, 25, 4).mean((3, 5))  # the middle, at a quarter of the size
    top, left = (104 - rows.start) // 4, (84 - columns.start) // 4
    there = start[..., top : top + 23, left : left + 25]
    assert np.corrcoef(cells.ravel(), there.ravel())[0, 1] > 0.9
    assert network.notes(hole) == [
        "net sees 64 pixels a side: wider holes are filled at 1/4 of the size, "
        "and the network that comes with mend goes on from there to the full one"
    ]


@pytest.mark.parametrize("width", [301, 304])
@pytest.mark.parametrize("turned", [False, True])
def test_the_finer_scales_begin_where_the_network_left_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, turned: bool
):
    """Also in a picture that is mirrored before it is filled, and whose border lies between two cells of the coarse scale."""
    network = fixed(tmp_path)
    image, hole = scene(300, width, (60, 240, 60, width - 60))
    image[:] = np.linspace(0, 1, width, dtype=np.float32)[:: -1 if turned else 1]
    (window,) = plan_windows(hole, 64)
    assert window.shrunk == 8
    coarse = np.pad(image, ((0, 0), (0, 0), (0, -300 % 8), (0, -width % 8)), "symmetric")
    for _ in range(3):
        coarse = halve(coarse)
    monkeypatch.setattr(network, "_see", lambda image, hole: coarse)  # a network that finds the truth, and no correction of it
    monkeypatch.setattr(network.finer, "correct", lambda seen: np.zeros_like(seen[:, :3]))
    raw = network(mask_out(image, hole), hole)
    pixel = abs(float(image[0, 0, 0, 1] - image[0, 0, 0, 0]))
    assert np.abs(raw - image)[..., hole[0, 0] > 0].mean() < 0.5 * pixel


def test_holes_apart_have_windows_of_their_own():
    _, hole = scene(600, 700, (20, 40, 20, 40), (300, 500, 300, 520))
    near, wide = plan_windows(hole, 64)
    assert (near.shrunk, wide.shrunk) == (1, 8)
    assert near.tile.place == (slice(16, 40), slice(16, 40))


def test_a_scratch_is_filled_at_full_size_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network, (image, hole) = fixed(tmp_path), scene(100, 700, (48, 52, 3, 697))
    (window,) = plan_windows(hole, 64)
    assert window.shrunk == 1
    seen: list[tuple[float, float]] = []
    see = network._see

    def spy(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        seen.append((image.shape[-1], hole[..., 0].mean()))
        return see(image, hole)

    monkeypatch.setattr(network, "_see", spy)
    raw = network(mask_out(image, hole), hole)
    assert len(seen) == -(-694 // 48)
    assert {width for width, _ in seen} == {64}
    assert not any(left for _, left in seen[1:]), "what was filled before is known"
    assert (raw[0, :, 48:52].mean((0, 1)) > 0).all()


def test_each_hole_is_filled_once_and_known_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    network = fixed(tmp_path, 256)
    image, hole = scene(300, 400, (40, 50, 40, 50), (40, 50, 90, 110), (250, 260, 200, 220))
    seen: list[int] = []
    see = network._see

    def spy(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
        seen.append(int(hole.sum()))
        return see(image, hole)

    monkeypatch.setattr(network, "_see", spy)
    network(mask_out(image, hole), hole)
    assert seen == [100 + 200, 200], "two near each other at once, and not again in the window of the third"
    seen.clear()
    hole[..., 100:300, 200:400] = 1  # wide: shrunk by two, in a window that shows the others
    network(mask_out(image, hole), hole)
    assert (len(seen), seen[1]) == (2, 100 * 100)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(0, 99), st.sampled_from(["specks", "box", "full", "empty", "rim"]))
def test_any_picture_is_filled(networks: list[Network], height: int, width: int, seed: int, kind: str):
    rng = np.random.default_rng(seed)
    hole = np.zeros((1, 1, height, width), np.float32)
    if kind == "specks":
        hole[:] = rng.random(hole.shape) > 0.6
    elif kind == "box":
        hole[..., height // 3 :, : width // 2] = 1
    elif kind == "full":
        hole[:] = 1
    elif kind == "rim":
        hole[:] = 1
        hole[..., height // 3 : height // 3 + 2, width // 2 :] = 0
    image = Picture(smooth(height, width, seed)).image()
    masked, before = mask_out(image, hole), hole.copy()
    kept = masked.copy()
    for network in networks:
        raw = network(masked, hole)
        assert raw.shape == image.shape
        assert raw.dtype == np.float32
        assert np.isfinite(raw).all()
        assert raw.min() >= 0
        assert raw.max() <= 1
        assert np.array_equal(raw * (1 - hole), masked)
        assert np.array_equal(masked, kept)
        assert np.array_equal(hole, before)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Network]:
    """One of a fixed size, one of multiples, one of any size in windows, one of bytes, one of 16-bit floats."""
    folder = tmp_path_factory.mktemp("networks")
    eight = {"dtype": "uint8", "image_range": (0, 255), "output_range": (0, 255), "mask_hole": 0, "mask_known": 255}
    half = {"dtype": "float16", "image_range": (-1, 1), "output_range": (-1, 1)}
    return [
        load_network(write_network(folder, made_graph(**half), "e.onnx", **half)),
        load_network(write_network(folder, made_graph(fixed=32), "a.onnx", multiple=None, fixed=32)),
        load_network(write_network(folder, made_graph(), "b.onnx", multiple=8)),
        load_network(write_network(folder, made_graph(), "c.onnx", multiple=8, largest=64)),
        load_network(write_network(folder, made_graph(**eight), "d.onnx", **eight, grow=3)),
    ]


def test_sizes_are_as_the_contract_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    image, hole = scene(101, 203, (40, 60, 40, 60))
    for keys, expected in (
        ({"multiple": 8}, (104, 208)),
        ({"multiple": 1}, (101, 203)),
        ({"multiple": 8, "largest": 64}, (64, 64)),
        ({"multiple": None, "fixed": 256}, (256, 256)),
    ):
        network = load_network(write_network(tmp_path, made_graph(), **keys))
        seen, run = [], network.run
        network.run = lambda image, mask, run=run, seen=seen: seen.append(image.shape[-2:]) or run(image, mask)
        network(mask_out(image, hole), hole)
        assert seen == [expected]


@pytest.mark.parametrize("size", [(1, 4097), (4097, 3)])
def test_very_long_pictures_are_filled(networks: list[Network], size: tuple[int, int]):
    image, hole = scene(*size, (0, max(1, size[0] // 2), 0, max(1, size[1] // 2)))
    for network in networks:
        raw = network(mask_out(image, hole), hole)
        assert raw.shape == image.shape
        assert np.isfinite(raw).all()


def test_pictures_of_a_batch_are_filled_each_for_itself(networks: list[Network]):
    scenes = [scene(70, 90, (10, 20, 10, 20)), scene(70, 90, (5, 60, 5, 80))]
    images, holes = (np.concatenate(part) for part in zip(*scenes, strict=True))
    for network in networks:
        raw = network(mask_out(images, holes), holes)
        for i, (image, hole) in enumerate(scenes):
            assert np.array_equal(raw[i : i + 1], network(mask_out(image, hole), hole))


def test_progress_is_told(tmp_path: Path):
    network, (image, hole) = fixed(tmp_path), scene(300, 300, (5, 15, 5, 15), (200, 220, 200, 220))
    told: list[tuple[int, int]] = []
    network(mask_out(image, hole), hole, None, lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]


def test_what_a_table_says_of_it(tmp_path: Path):
    red = np.random.default_rng(0).random((3, 64, 64), np.float32) * 0.1 + [[[0.7]], [[0.2]], [[0]]]
    graphs = [made_graph(pattern=pattern, fixed=64) for pattern in (red, red * 0.9)]
    files = [write_network(tmp_path, graph, f"{i}.onnx", multiple=None, fixed=64) for i, graph in enumerate(graphs)]
    network, other = map(load_network, files)
    assert network.parameters == sum(numpy_helper.to_array(one).size for one in graphs[0].graph.initializer) > red.size
    assert network.config.model == "0"
    assert network.config.contract["licence"] == "CC0-1.0"
    assert network.config.contract == json.loads(json.dumps(network.config.contract))
    write_network(tmp_path, graphs[0], "2.onnx", multiple=None, fixed=64, grow=1)
    assert network.version == load_network(files[0]).version
    assert len({network.version, other.version, load_network(tmp_path / "2.onnx").version}) == 3


def test_weights_are_counted_in_what_pytorch_wrote():
    assert count_weights(GRAPH) == PyramidOnnx().parameters, "which its safetensors file says"


@pytest.mark.parametrize("side", [64, None])
def test_memory_is_promised_where_the_contract_says_how_much_a_pixel_takes(tmp_path: Path, side: int | None):
    if sys.platform != "linux":
        pytest.skip("the peak of a process is read from /proc")
    sizes = {"multiple": None, "fixed": side} if side else {"multiple": 8, "largest": 512}
    file = write_network(tmp_path, made_graph(fixed=side), memory=100, **sizes)
    image, hole = scene(1200, 1600, (300, 900, 400, 1100))
    Image.fromarray((image[0].transpose(1, 2, 0) * 255).astype(np.uint8)).save(tmp_path / "p.png")
    Image.fromarray((hole[0, 0] * 255).astype(np.uint8)).save(tmp_path / "m.png")
    plan = make_plan(load_network(file), hole)
    words = ["fill", str(tmp_path / "p.png"), "--mask", str(tmp_path / "m.png"), "--model", str(file)]
    words += ["-o", str(tmp_path / "o.png"), "--max-memory"]
    assert plan.memory is not None
    assert plan.memory / 2 < peak([*words, f"{plan.memory / 2**20 + 1:.0f}MB"]) <= plan.memory
    with pytest.raises(InputError, match="which is too little"):
        make_plan(load_network(file), hole, plan.memory - 1)
    write_toml(file.with_suffix(".toml"), file=file.name, **sizes)
    with pytest.raises(InputError, match="is not known, so none can be promised. .* its contract may say it, as memory"):
        make_plan(load_network(file), hole, 2**40)


# --- TorchScript -----------------------------------------------------------------------------------------------------


class Mean(torch.nn.Module):
    """The contract of big-lama.pt: image and mask, 1 = hole, to what is filled."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp(min=1)
        return image * known + mean * mask


PLACES = {"file": "net.pt", "image": 0, "mask": 1, "output": 0, "multiple": 8}


def scripted(tmp_path: Path, module: torch.nn.Module, **keys: Any) -> Path:
    file = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that PyTorch would rather have another format
        torch.jit.script(module).save(file)
    write_toml(tmp_path / "net.toml", **PLACES | keys)
    return file


def test_torchscript_fills_and_says_that_it_is_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    network = load_network(scripted(tmp_path, Mean()))
    assert "net.pt is TorchScript: a program, which is run now" in capsys.readouterr().err
    assert network.runtime == "PyTorch on cpu"
    image, hole = scene(45, 37, (10, 20, 10, 20))
    other = load_network(write_network(tmp_path, made_graph(), "same.onnx", multiple=8))
    assert network(mask_out(image, hole), hole) == pytest.approx(other(mask_out(image, hole), hole), abs=1e-5)


def test_torchscript_is_probed(tmp_path: Path):
    with pytest.raises(InputError, match="With mask_hole = 1 and mask_known = 0 it would fit"):
        load_network(scripted(tmp_path, Mean(), mask_hole=0, mask_known=1))


def test_bad_torchscript_is_refused(tmp_path: Path):
    file = scripted(tmp_path, Mean(), image="image")
    with pytest.raises(InputError, match="whose inputs have places"):
        load_network(file)
    write_toml(tmp_path / "net.toml", **PLACES, sha256="0" * 64)
    with pytest.raises(InputError, match="SHA-256"):
        load_network(file)
    write_toml(tmp_path / "net.toml", **PLACES | {"image": 1, "mask": 0})
    with pytest.raises(InputError, match="stopped on|contradicts"):
        load_network(file)
    write_toml(tmp_path / "net.toml", **PLACES)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(InputError, match="net.pt is no TorchScript"):
        load_network(file)


def test_torchscript_that_returns_no_picture_is_refused(tmp_path: Path):
    class Named(torch.nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"image": image}

    class Half(Mean):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image.to(torch.bfloat16)

    with pytest.raises(InputError, match="net.pt stopped on an image of"):
        load_network(scripted(tmp_path, Named()))
    with pytest.raises(InputError, match="contradicts net.toml"):
        load_network(scripted(tmp_path, Half()))


def test_torchscript_without_pytorch_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = scripted(tmp_path, Mean())
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "mend.inpaint.torchscript", raising=False)
    with pytest.raises(InputError, match=r"torch is not installed. Run in the folder of mend: pip install '.\[train\]'"):
        load_network(file)
