"""mend: take things out of photographs; train, measure and compare the networks that fill the hole.

import mend
filled = mend.fill("photo.jpg", "mask.png")                  # with the network that comes with mend
filled = mend.load("runs/unet-aspp")("photo.jpg", "mask.png")  # with one of yours
"""

import os
import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mend.data.assets import VERSION as __version__  # noqa: F401
from mend.errors import import_lazily

if TYPE_CHECKING:
    from mend.filling.inpainter import Inpainter as Inpainter
    from mend.filling.inpainter import fill as fill
    from mend.filling.inpainter import load as load

# ONNX Runtime reports its use to Microsoft, from version 1.32 on Linux too, unless this stands before its first import. What is
# done with a photograph is nobody's business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Inpainter", "fill", "load"]

MOVED = {
    "mend.classical": "mend.inpaint.classical",
    "mend.demo": "mend.cli.demo",
    "mend.protocol": "mend.evaluate.protocol",
    "mend.recipes": "mend.train.config",
}
"""Modules that notebooks of version 0.1 import by their old names."""


# `import mend` stays cheap: what fills is imported where it is asked for.
__getattr__ = import_lazily("mend", **dict.fromkeys(__all__, "mend.filling.inpainter"))


class _Moved(MetaPathFinder, Loader):
    """Finds a module by its old name: it is the one of the new name."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(MOVED[spec.name])
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # its own again


sys.meta_path.append(_Moved())
