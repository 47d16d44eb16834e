"""What fills a picture, by name: ONNX Runtime, which needs no second to start, where that is enough, and PyTorch elsewhere."""

import os
from importlib.util import find_spec
from pathlib import Path

from mend.errors import InputError, name_missing_extra, suggest_nearest
from mend.filling.options import check_texture
from mend.inpaint import networks
from mend.inpaint.classical import CLASSICAL, Classical
from mend.inpaint.contracts import NETWORKS
from mend.inpaint.filler import Filler
from mend.inpaint.onnx import DEFAULT, PyramidOnnx, find_exported

GPUS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")


@name_missing_extra()
def load_filler(
    model: str | Path | None = None, device: str = "auto", *, smooth: bool = False, texture: bool = False, seam: bool = False
) -> Filler:
    """A filler by name: a run folder, a model folder, a classical filler such as "telea", a network of somebody else (see
    `mend.inpaint.networks`) such as "lama" or FILE.onnx; None is the network that comes with mend.

    `device` is "auto" (a GPU where there is one), or a PyTorch device. The filling of the network that comes with mend gets
    texture from elsewhere in the picture (see `mend.inpaint.texture`), unless `smooth`; that of another does with `texture`.
    With `seam` a filling meets the picture all around the hole (see `mend.inpaint.blend`). Raises InputError for what is no
    model.
    """
    check_texture(model, smooth, texture)
    foreign = model is not None and networks.is_network(model)
    if seam and (model is None or foreign):
        raise InputError(
            "`seam` is for a network of yours that changes known pixels a little. "
            f"{'A network of others' if foreign else 'The network that comes with mend'} does not. Leave `seam` out."
        )
    if foreign and device not in ("auto", "cpu"):
        raise InputError(f"networks of other people run on the CPU; the `device` is {device}. Leave it out.")
    if device not in ("auto", "cpu"):
        if find_spec("torch") is None:
            raise InputError(
                f"the `device` is {device!r}, and without PyTorch there is only the CPU. Leave it out, or run in the folder of "
                "mend: pip install '.[train]'."
            )
        from mend.models.device import find_device

        find_device(device)  # before anything is loaded, and where nothing would ask for it: a classical filler has no device
    filler = _load(model, device)
    if seam:
        from mend.inpaint.blend import Blended

        filler = Blended(filler)
    if wants_texture(model, smooth, texture):
        from mend.inpaint.texture import Textured

        filler = Textured(filler)
    return filler


def wants_texture(model: str | Path | None, smooth: bool, texture: bool) -> bool:
    """Whether a filling gets texture: that of the network that comes with mend unless it is to be smooth."""
    return texture or (model is None and not smooth)


def _load(model: str | Path | None, device: str) -> Filler:
    if model is None and can_use_onnx(device):
        return PyramidOnnx()
    model = DEFAULT if model is None else model
    if str(model) in CLASSICAL:
        return Classical(str(model))
    if networks.is_network(model):
        return networks.load_network(model)
    if not Path(model).exists():
        names = [*CLASSICAL, *NETWORKS]
        hint = suggest_nearest(str(model), names)
        raise InputError(f"there is no model in {model}: no such folder.{hint} By name there are {', '.join(names)}.")
    if find_spec("torch") is None and (folder := find_exported(Path(model))):
        return PyramidOnnx(folder)
    from mend.models.filler import load_network

    return load_network(model, device)


def can_use_onnx(device: str) -> bool:
    """Whether the network that comes with mend runs as well without PyTorch: on the CPU.

    "auto" is the CPU where PyTorch is not installed, and where no driver of a GPU that it might use is to be seen: NVIDIA's,
    AMD's, or one of these by Windows.
    """
    on_gpu = any(map(os.path.exists, GPUS)) and all(map(find_spec, ("torch", "safetensors")))
    return device == "cpu" or (device == "auto" and not on_gpu)
