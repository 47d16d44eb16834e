import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import mend
from mend.checkpoint import load_model, save_model
from mend.errors import InputError
from mend.export import export
from mend.light import DEFAULT, GRAPH
from mend.models import MODELS, build


@pytest.mark.parametrize("name", [*MODELS, "unet-aspp with the hole"])
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
        assert export(tmp_path / "model", place / "x.onnx") < 1e-4
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


def test_the_graph_in_the_box_is_the_network_in_the_box_and_small():
    assert sum(file.stat().st_size for file in DEFAULT.iterdir()) <= 6_000_000
    assert GRAPH.stat().st_size < 20_000
    graph = onnx.load(GRAPH, load_external_data=False)
    weights = [tensor for tensor in graph.graph.initializer if tensor.external_data]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in weights]
    assert {place["location"] for place in places} == {"model.safetensors"}
    assert len(weights) == len(mend.load(device="cpu").network.state_dict())


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match=r"Call it .*model\.onnx"):
        export(DEFAULT, tmp_path / "model.pt")
    with pytest.raises(InputError, match="there is no model in"):
        export(tmp_path / "none", tmp_path / "model.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(InputError, match=r"onnxscript is not installed. Run: pip install 'mend-inpainting\[export\]'"):
        export(DEFAULT, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_graph_that_gives_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_model(tmp_path / "model", build("unet", width=2), "unet", {"width": 2}, {})
    monkeypatch.setattr("mend.export.MOST", -1.0)
    with pytest.raises(RuntimeError, match="differs from the network"):
        export(tmp_path / "model", tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()
    assert json.loads((tmp_path / "model" / "config.json").read_text())["model"] == "unet"
