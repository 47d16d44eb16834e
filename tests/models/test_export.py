import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import ROOT, smooth
from conftest import mend as run_mend
from torch import Tensor, nn

import mend.models.export
from mend.errors import InputError
from mend.images import read_image, write_image
from mend.inpaint.contracts import read_contract
from mend.inpaint.onnx import DEFAULT, GRAPH
from mend.models import MODELS, build
from mend.models.checkpoint import load_model, save_model
from mend.models.export import export
from mend.models.network import hash_weights

GRAPHS: dict[str, onnx.ModelProto] = {}


@pytest.fixture(autouse=True)
def each_graph_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes seconds for one, and many tests need that of the same weights."""
    make = mend.models.export._export_graph

    def made(network: nn.Module, inputs: dict[str, Tensor]) -> onnx.ModelProto:
        weights = hash_weights(network)
        if weights not in GRAPHS:
            GRAPHS[weights] = make(network, inputs)
        copy = onnx.ModelProto()
        copy.CopyFrom(GRAPHS[weights])
        return copy

    monkeypatch.setattr(mend.models.export, "_export_graph", made)


# What the first four have others have too, and each takes seconds; the graph of the last takes PyTorch half a minute.
SLOW = ("unet", "autoencoder", "unet-simple", "unet-aspp", "unet-context")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in MODELS]


@pytest.mark.parametrize("name", [*NAMES, "unet-aspp with the hole"])
def test_every_network_is_exported_for_any_size_and_gives_what_it_gives_in_pytorch(name: str, tmp_path: Path):
    model, _, with_hole = name.partition(" ")
    options = {"width": 4} | ({"hole_channel": True} if with_hole else {})
    torch.manual_seed(0)
    network = build(model, **options)
    for key, value in network.state_dict().items():  # norms and biases too
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5 if key.endswith("running_var") else torch.randn_like(value) * 0.15)
    save_model(tmp_path / "model", network, model, options, {})
    for place in (tmp_path, tmp_path / "model"):
        off, toml = export(tmp_path / "model", place / "x.onnx")
        assert off < 1e-4
        assert toml == (None if model in ("pyramid", "structure") else place / "x.toml")
        nodes = onnx.load(place / "x.onnx", load_external_data=False).graph.node
        assert not any(node.metadata_props or node.doc_string for node in nodes), "the paths of a machine"
        session = onnxruntime.InferenceSession(place / "x.onnx")
        network, _ = load_model(tmp_path / "model")
        size = 3, 24, 104
        if model in ("pyramid", "structure"):
            inputs = {"seen": torch.rand(size[0], 7, *size[1:])}
            network = network.correct
        else:
            inputs = {"masked": torch.rand(size[0], 3, *size[1:]), "hole": (torch.rand(size[0], 1, *size[1:]) > 0.5).float()}
        (found,) = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        with torch.inference_mode():
            assert np.abs(found - network(*inputs.values()).numpy()).max() < 1e-4
    sizes = [(place / "x.onnx").stat().st_size for place in (tmp_path, tmp_path / "model")]
    weights = sum(value.numel() * 4 for value in network.state_dict().values())
    assert sizes[1] < sizes[0] - weights // 2, "its weights are those beside it"


def test_an_exported_network_fills_with_its_contract_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trained = ROOT / "results" / "cifar10-object-v1" / "models" / "unet-w16"
    code, said, _ = run_mend(capsys, "export", trained, "-o", tmp_path / "mine.onnx")
    assert code == 0
    assert f"mine.toml: its description; now 'mend fill PHOTO --mask MASK --model {tmp_path / 'mine.onnx'}'" in said
    image, hole = smooth(60, 76, 1), np.zeros((60, 76), np.uint8)
    hole[20:40, 30:44] = 255
    write_image(tmp_path / "p.png", image)
    write_image(tmp_path / "m.png", hole[..., None])
    filled = []
    for model in (trained, tmp_path / "mine.onnx"):
        words = ("fill", tmp_path / "p.png", "--mask", tmp_path / "m.png", "--device", "cpu", "-o", tmp_path / "o.png")
        code, _, said = run_mend(capsys, *words, "--model", model, "--max-memory", "6GB")
        assert code == 0, said
        filled.append(read_image(tmp_path / "o.png").pixels.astype(int))
    assert "ONNX Runtime" in said
    assert np.abs(filled[0] - filled[1]).max() <= 1
    assert (filled[0] != image).any()


def test_a_contract_that_is_there_keeps_its_licence_and_what_is_none_stays(tmp_path: Path):
    save_model(tmp_path / "model", build("unet", width=2), "unet", {"width": 2}, {})
    export(tmp_path / "model", tmp_path / "x.onnx")
    toml, size = tmp_path / "x.toml", (tmp_path / "x.onnx").stat().st_size
    toml.write_text(toml.read_text().replace('"yours"', '"CC0-1.0"').replace(f"bytes = {size}", "bytes = 1"))
    assert (read_contract(toml).licence, read_contract(toml).bytes) == ("CC0-1.0", 1)
    export(tmp_path / "model", tmp_path / "x.onnx")
    again = read_contract(toml)
    assert (again.licence, again.bytes) == ("CC0-1.0", size)
    toml.write_text("epochs = 3\n")
    (tmp_path / "x.onnx").unlink()
    with pytest.raises(InputError, match="unknown key 'epochs' in x.toml"):
        export(tmp_path / "model", tmp_path / "x.onnx")
    assert (toml.read_text(), (tmp_path / "x.onnx").exists()) == ("epochs = 3\n", False)


def test_the_graph_in_the_box_is_the_network_in_the_box_and_small():
    assert sum(file.stat().st_size for file in DEFAULT.iterdir()) <= 6_000_000
    assert GRAPH.stat().st_size < 20_000
    graph = onnx.load(GRAPH, load_external_data=False)
    weights = [tensor for tensor in graph.graph.initializer if tensor.external_data]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in weights]
    assert {place["location"] for place in places} == {"model.safetensors"}
    assert len(weights) == len(load_model(DEFAULT)[0].state_dict())


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match=r"Call it .*model\.onnx"):
        export(DEFAULT, tmp_path / "model.pt")
    with pytest.raises(InputError, match="there is no model in"):
        export(tmp_path / "none", tmp_path / "model.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript is not installed. Run in the folder of mend: pip install '.\[export\]'"):
        export(DEFAULT, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_gives_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_model(tmp_path / "model", build("unet", width=2), "unet", {"width": 2}, {})
    monkeypatch.setattr("mend.models.export.MOST", -1.0)
    with pytest.raises(RuntimeError, match="differs from the network"):
        export(tmp_path / "model", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model"] == "unet"
