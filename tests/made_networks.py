"""Small ONNX graphs that keep the contracts of well-known networks, and others that break them.

They fill a hole with the mean of what is known, or with a pattern of their own, and give known pixels back.
"""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}
KEYS: dict[str, Any] = {
    "licence": "CC0-1.0",
    "image": "image",
    "mask": "mask",
    "output": "output",
    "dtype": "float32",
    "colours": "RGB",
    "image_range": [0, 1],
    "output_range": [0, 1],
    "mask_hole": 1,
    "mask_known": 0,
    "multiple": 1,
}


def made_graph(
    image_range: tuple[float, float] = (0, 1),
    output_range: tuple[float, float] = (0, 1),
    mask_hole: float = 1,
    mask_known: float = 0,
    dtype: str = "float32",
    fixed: int | None = None,
    pattern: np.ndarray | None = None,
    keeps_known: bool = True,
    swaps: bool = False,
    tint: np.ndarray | None = None,
    last: str = "Identity",
    opset: int = 17,
    **names: str,
) -> ModelProto:
    """A network with these contents.

    `pattern` (3, H, W) is what it fills holes with, else the mean of what is known, times `tint` (3, 3) if given. `swaps`
    exchanges red and blue on the way out; `last` is what becomes of the output: Identity, NaN, or half as large.
    """
    numbers: dict[str, np.ndarray] = {}
    nodes = []

    def value(array: Any) -> str:
        name = f"c{len(numbers)}"
        numbers[name] = np.asarray(array, np.float32 if not isinstance(array, np.ndarray) else array.dtype)
        return name

    def do(kind: str, *inputs: str, **how: Any) -> str:
        name = f"n{len(nodes)}"
        nodes.append(helper.make_node(kind, list(inputs), [name], **how))
        return name

    image_name, mask_name, output_name = (names.get(key, key) for key in ("image", "mask", "output"))
    low, high = image_range
    image = do("Cast", image_name, to=TensorProto.FLOAT)
    image = do("Div", do("Sub", image, value(low)), value(high - low))
    mask = do("Cast", mask_name, to=TensorProto.FLOAT)
    hole = do("Div", do("Sub", mask, value(mask_known)), value(mask_hole - mask_known))
    known = do("Sub", value(1), hole)
    axes = do("Identity", value(np.array([2, 3])))
    total = do("ReduceSum", do("Mul", image, known), axes)
    mean = do("Div", total, do("Add", do("ReduceSum", known, axes), value(1e-6)))
    if tint is not None:
        mean = do("Conv", mean, value(np.float32(tint)[:, :, None, None]))
    guess = mean if pattern is None else do("Identity", value(np.float32(pattern)[None]))
    outside = image if keeps_known else do("Mul", image, value(0))
    filled = do("Add", do("Mul", outside, known), do("Mul", guess, hole))
    if swaps:
        filled = do("Gather", filled, value(np.array([2, 1, 0])), axis=1)
    low, high = output_range
    filled = do("Add", do("Mul", filled, value(high - low)), value(low))
    if last == "NaN":
        filled = do("Sqrt", do("Sub", value(-1), filled))
    elif last == "half":
        filled = do("AveragePool", filled, kernel_shape=[2, 2], strides=[2, 2])
    if dtype == "uint8":
        filled = do("Round", filled)
    nodes.append(helper.make_node("Cast", [filled], [output_name], to=TYPES[dtype]))
    sides: list[Any] = [fixed, fixed] if fixed else ["height", "width"]
    graph = helper.make_graph(
        nodes,
        "made",
        [
            helper.make_tensor_value_info(image_name, TYPES[dtype], ["batch", 3, *sides]),
            helper.make_tensor_value_info(mask_name, TYPES[dtype], ["batch", 1, *sides]),
        ],
        [helper.make_tensor_value_info(output_name, TYPES[dtype], None)],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def write_toml(path: Path, **keys: Any) -> Path:
    """A contract: `KEYS` with others; None leaves one out."""
    keys = {"file": path.with_suffix(".onnx").name} | KEYS | keys
    lines = [f"{key} = {_toml(value)}" for key, value in keys.items() if value is not None]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_network(folder: Path, graph: ModelProto | bytes, name: str = "net.onnx", **keys: Any) -> Path:
    """A network and its contract beside it."""
    file = folder / name
    file.write_bytes(graph if isinstance(graph, bytes) else graph.SerializeToString())
    write_toml(file.with_suffix(".toml"), file=name, **keys)
    return file


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
