"""A network in an ONNX file, run on the CPU: image and mask in, output out, nothing else.

What is wrong with a file, or with what it returns, is an InputError that says so in a sentence.
"""

import math
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mend.errors import InputError, make_unknown_error
from mend.inpaint.contracts import Contract
from mend.inpaint.onnx import open_session


class OnnxGraph:
    """An ONNX file in ONNX Runtime on the CPU."""

    runtime = "ONNX Runtime on cpu"
    program = 200 * 2**20  # bytes: Python with ONNX Runtime and OpenCV loaded, and what a first run leaves; 190 MB measured
    TYPES: ClassVar = {"float32": "tensor(float)", "float16": "tensor(float16)", "uint8": "tensor(uint8)"}

    def __init__(self, file: Path, contract: Contract) -> None:
        self.file = file
        try:
            self.session = open_session(file)
        except Exception as error:  # ONNX Runtime's errors have no class in common
            raise InputError(f"{file.name} cannot be run. {explain(error)}") from None
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        if len(inputs) != 2:
            raise InputError(
                f"{file.name} has {len(inputs)} input{'s' * (len(inputs) != 1)} ({', '.join(i.name for i in inputs)}); "
                "expected an image and a mask. Networks that need more, or take both in one, cannot be used."
            )
        image, mask = (self._find(inputs, place, "input") for place in (contract.image, contract.mask))
        self.image, self.mask, self.output = image.name, mask.name, self._find(outputs, contract.output, "output").name
        for given, role, channels in ((image, "image", 3), (mask, "mask", 1)):
            self._check(given, role, channels, contract)

    @property
    def parameters(self) -> int:
        """How many numbers its initializers hold."""
        return count_weights(self.file)

    def _find(self, given: list[Any], place: str | int, kind: str) -> Any:
        names = [one.name for one in given]
        if place in names:
            return given[names.index(place)]
        if isinstance(place, int) and place < len(given):
            return given[place]
        raise make_unknown_error(f"{kind} of {self.file.name}", str(place), names)

    def _check(self, given: Any, role: str, channels: int, contract: Contract) -> None:
        """InputError where the graph itself contradicts the contract."""
        name, shape = f"the {role} of {self.file.name}, {given.name!r},", given.shape
        if given.type != self.TYPES[contract.dtype]:
            raise InputError(f"{name} is a {given.type}; its contract says {contract.dtype}.")
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != channels):
            raise InputError(
                f"{name} has the shape {shape}; expected [batch, {channels}, height, width]. "
                "Perhaps image and mask are swapped in its contract."
            )
        sides = [side for side in shape[2:] if isinstance(side, int)]
        if any(side != contract.fixed for side in sides):
            size = f"fixed = {contract.fixed}" if contract.fixed else f"multiple = {contract.multiple}, which is no fixed size"
            raise InputError(f"{name} has the shape {shape}; its contract says {size}.")

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        try:
            (output,) = self.session.run([self.output], {self.image: image, self.mask: mask})
        except Exception as error:
            raise InputError(f"{self.file.name} stopped on an image of {format_size(image)}. {explain(error)}") from None
        return check_output(np.asarray(output), image, self.file.name)


def check_output(output: np.ndarray, image: np.ndarray, name: str) -> np.ndarray:
    """The output, where it has the shape of the image and is finite; else InputError."""
    if output.shape != image.shape:
        raise InputError(
            f"{name} returned the shape {list(output.shape)} for an image of {list(image.shape)}; expected the same."
        )
    if not np.isfinite(output).all():
        raise InputError(f"{name} returned values that are no numbers (NaN or infinite) for an image of {format_size(image)}.")
    return output


def format_size(image: np.ndarray) -> str:
    return f"{image.shape[-1]}×{image.shape[-2]} pixels"


def explain(error: Exception) -> str:
    """What ONNX Runtime or PyTorch says, without its own source lines, and what to do."""
    said = " ".join(str(error).split())
    if later := re.search(r"opset \d+(?= is under development)|IR version: \d+", said, re.IGNORECASE):
        return f"It is of {later[0].replace(':', '')}, later than this ONNX Runtime knows. Run: pip install -U onnxruntime."
    if operator := re.search(r"No Op registered for \S+|\S+ is not a registered function/op", said):
        return f"It needs an operator that this ONNX Runtime does not have: {operator[0]}. Try: pip install -U onnxruntime."
    if "protobuf" in said.lower() or not said:
        return "It is no ONNX file, or only a part of one; fetch it again."
    return f"Its runtime says: {re.sub(r'^.*(failed:|: [A-Z_]+ : )', '', said)[:200]}"


def count_weights(file: Path) -> int:
    """How many numbers the initializers of an ONNX file hold. It takes the onnx package, which reads the whole file."""
    import onnx

    return sum(math.prod(tensor.dims) for tensor in onnx.load(file, load_external_data=False).graph.initializer)
