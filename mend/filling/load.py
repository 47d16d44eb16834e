"""What fills a picture: ONNX Runtime, which needs no second to start, where that is enough, and PyTorch elsewhere."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mend.inpaint.onnx import DEFAULT, Light

if TYPE_CHECKING:
    from mend.filling.inpainter import Inpainter

GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")


def is_enough(device: str) -> bool:
    """Whether the network in the box runs as well here: on the CPU, with ONNX Runtime installed.

    "auto" is the CPU where no driver of a GPU that PyTorch might use is to be seen: NVIDIA's, AMD's, or one of these by
    Windows.
    """
    on_cpu = device == "cpu" or (device == "auto" and not any(map(os.path.exists, GPUS)))
    return on_cpu and find_spec("onnxruntime") is not None


def lightest(model: str | None, device: str, texture: bool = False, seam: bool = False) -> "Inpainter | Light":
    """As `mend.load`, and without PyTorch for the network in the box, None, where that is enough."""
    if model is None and not texture and not seam and is_enough(device):
        return Light()
    from mend.filling.inpainter import load

    return load(model or DEFAULT, device, texture, seam)
