"""A network as an ONNX graph, for those who run it elsewhere; checked against PyTorch after it was written."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mend.errors import InputError, name_missing_extra
from mend.images import mask_out, write_bytes
from mend.inpaint.contracts import Contract, read_contract, write_contract
from mend.inpaint.download import hash_file
from mend.inpaint.folder import require_model
from mend.models.checkpoint import load_model
from mend.models.network import Network

if TYPE_CHECKING:
    from onnx import ModelProto

SIZES = ((1, 64, 48), (2, 40, 136), (1, 8, 8))  # batch, height, width: of the first the graph is made, on all it is checked
MOST = 1e-3  # by which the graph may differ from the network, on a scale where white is 1


@name_missing_extra()
def export(model: str | Path, output: Path) -> tuple[float, Path | None]:
    """Write the network of a model or run folder to `output`; returns by how much it differs from PyTorch at most, and where
    its contract is.

    The graph takes `masked` (B, 3, H, W) and `hole` (B, 1, H, W) to `raw` (B, 3, H, W), H and W multiples of 8. That of a
    pyramid is one scale of it, `seen` (B, 7, H, W) to `correction` (B, 3, H, W); `mend.inpaint.onnx` has what goes around it.
    Beside the model's own model.safetensors the graph has no weights, but says where they lie in that file.

    A graph from `masked` and `hole` to `raw` gets its contract beside it, in a .toml file (see `mend.inpaint.contracts`), with
    which `load_filler` takes the graph. The licence in one that is there already is kept.

    Raises InputError for what is no model, another suffix, a .toml file that is no contract, and where a package is missing.
    """
    if output.suffix != ".onnx":
        raise InputError(f"cannot write {output}: the graph is an ONNX file. Call it {output.with_suffix('.onnx')}.")
    import onnxruntime
    import onnxscript  # noqa: F401 (PyTorch's exporter is made of it)

    network, _ = load_model(model)
    toml = output.with_suffix(".toml")
    licence = read_contract(toml).licence if toml.exists() and not network.graph else "yours"
    exported = network.get_submodule(network.graph)
    graph, folder = _export_graph(exported, _draw_inputs(network, *SIZES[0])), require_model(model)
    if output.resolve().parent == folder.resolve():
        _externalise_weights(graph, folder / "model.safetensors", f"{network.graph}." if network.graph else "")
    write_bytes(output, graph.SerializeToString())
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    off = 0.0
    for size in SIZES:
        inputs = _draw_inputs(network, *size)
        with torch.inference_mode():
            expected = exported(*inputs.values()).numpy()
        (found,) = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        off = max(off, float(np.abs(found - expected).max()))
    if not off <= MOST:
        output.unlink()
        raise RuntimeError(f"the graph differs from the network by up to {off:.2g}; it is not kept.")
    if network.graph:
        return off, None
    write_contract(_make_contract(network, output, licence), toml)
    return off, toml


def _make_contract(network: Network, graph: Path, licence: str) -> Contract:
    """What the graph of a network of ours expects and returns."""
    return Contract(
        file=graph.name,
        licence=licence,
        image="masked",
        mask="hole",
        output="raw",
        dtype="float32",
        colours="RGB",
        image_range=(0, 1),
        output_range=(0, 1),
        mask_hole=1,
        mask_known=0,
        multiple=network.stride,
        memory=network.memory,
        bytes=graph.stat().st_size,
        sha256=hash_file(graph),
    )


def _draw_inputs(network: Network, batch: int, height: int, width: int) -> dict[str, Tensor]:
    """What the exported module is called with, random, by the names that it has in the graph."""
    generator = torch.Generator().manual_seed(height)
    shapes = network.graph_inputs(batch, height, width)
    inputs = {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}
    if "hole" in inputs:
        inputs["hole"] = (inputs["hole"] > 0.7).float()
        inputs["masked"] = mask_out(inputs["masked"], inputs["hole"])
    return inputs


def _export_graph(network: nn.Module, inputs: dict[str, Tensor]) -> "ModelProto":
    dynamic = torch.export.Dim
    shape = {0: dynamic.DYNAMIC, 2: 8 * dynamic("height"), 3: 8 * dynamic("width")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the inputs share their sizes
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            dynamic_shapes=(shape,) * len(inputs),
            input_names=list(inputs),
            output_names=["raw" if "hole" in inputs else "correction"],
            optimize=False,  # it would draw norms into convolutions: other weights than those in the file
            verbose=False,
        )
    assert program is not None
    made = program.model_proto  # a new one at each call
    drop_traces(made)
    return made


def drop_traces(made: "ModelProto") -> None:
    """Take out of a graph what PyTorch says of its making: the stack of calls, with the paths of this machine."""
    for node in made.graph.node:
        del node.metadata_props[:]
    del made.graph.metadata_props[:], made.graph.value_info[:]


def _externalise_weights(graph: "ModelProto", file: Path, prefix: str) -> None:
    """Take the weights out of a graph that stand in a safetensors file beside it, and name their places there."""
    from onnx import TensorProto, helper

    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        places = json.loads(opened.read(length))
    casts = []
    for weight in graph.graph.initializer:
        if prefix + weight.name not in places:  # a number that the graph itself needs
            continue
        place = places[prefix + weight.name]
        start, stop = (8 + length + offset for offset in place["data_offsets"])
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        for key, value in {"location": file.name, "offset": start, "length": stop - start}.items():
            weight.external_data.add(key=key, value=str(value))
        if place["dtype"] == "F16":
            name, weight.name, weight.data_type = weight.name, f"{weight.name}.half", TensorProto.FLOAT16
            casts.append(helper.make_node("Cast", [weight.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
