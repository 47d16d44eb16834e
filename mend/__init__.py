"""mend: train, measure and use image-inpainting networks.

import mend
filled = mend.fill("photo.jpg", "mask.png")                  # with the network in the box
filled = mend.load("runs/unet-aspp")("photo.jpg", "mask.png")  # with one of yours
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mend.filling.inpainter import Inpainter as Inpainter
    from mend.filling.inpainter import fill as fill
    from mend.filling.inpainter import load as load

__version__ = "0.1.0"
__all__ = ["Inpainter", "fill", "load"]


def __getattr__(name: str) -> Any:
    # `import mend` stays cheap: PyTorch is imported by what needs it.
    if name in __all__:
        from mend.filling import inpainter

        return getattr(inpainter, name)
    raise AttributeError(f"module 'mend' has no attribute {name!r}")
