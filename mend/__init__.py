"""mend: train, measure and use image-inpainting networks.

import mend
filled = mend.load("runs/unet-aspp")("photo.jpg", "mask.png")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mend.fill import Inpainter as Inpainter
    from mend.fill import load as load

__version__ = "0.1.0"
__all__ = ["Inpainter", "load"]


def __getattr__(name: str) -> Any:
    # `import mend` stays cheap: PyTorch is imported by what needs it.
    if name in __all__:
        from mend import fill

        return getattr(fill, name)
    raise AttributeError(f"module 'mend' has no attribute {name!r}")
