"""A network in a TorchScript file, run by PyTorch on the CPU, as `OnnxGraph` is by ONNX Runtime."""

import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from mend.errors import InputError
from mend.inpaint.contracts import Contract
from mend.inpaint.graphs import check_output, explain, format_size


class TorchScript:
    """A TorchScript file in PyTorch on the CPU; `image`, `mask` and `output` of its contract are places."""

    runtime = "PyTorch on cpu"
    program = 700 * 2**20  # bytes: Python with PyTorch and OpenCV loaded, as `mend.models.filler` counts it

    def __init__(self, file: Path, contract: Contract) -> None:
        self.file, self.swapped, self.output = file, contract.image == 1, contract.output
        if {contract.image, contract.mask} != {0, 1} or not isinstance(contract.output, int):
            raise InputError(f"{file.name} is TorchScript, whose inputs have places: image and mask are 0 and 1, output is 0.")
        print(f"{file.name} is TorchScript: a program, which is run now. Load only what you trust.", file=sys.stderr)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that PyTorch would rather have another format
                self.module = torch.jit.load(file, map_location="cpu").eval()
        except Exception as error:
            raise InputError(
                f"{file.name} is no TorchScript that PyTorch {torch.__version__} reads. {explain(error)}"
            ) from None

    @property
    def parameters(self) -> int:
        """How many numbers its parameters hold."""
        return sum(weights.numel() for weights in self.module.parameters())

    def __call__(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        given = [torch.from_numpy(image), torch.from_numpy(mask)]
        try:
            with torch.inference_mode():
                output = self.module(*(given[::-1] if self.swapped else given))
            if isinstance(output, tuple | list):
                output = output[int(self.output)]
            values = output.float().numpy()
        except Exception as error:
            raise InputError(f"{self.file.name} stopped on an image of {format_size(image)}. {explain(error)}") from None
        return check_output(values, image, self.file.name)
