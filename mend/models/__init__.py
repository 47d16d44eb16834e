"""The networks by name. Every one is `(masked, hole) -> raw` and states its `stride` and the `memory` it takes to fill.

`memory` is in bytes for each pixel of what it is given at once, as measured at 512×512 (PyTorch 2.15, fp32), rounded up.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from torch import nn

from mend.errors import InputError, pick
from mend.models.baselines import Autoencoder
from mend.models.pyramid import Pyramid
from mend.models.structure import Structure
from mend.models.unet import UNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "autoencoder": Autoencoder,
    "unet": partial(UNet, refine="none"),
    "unet-simple": partial(UNet, refine="simple"),
    "unet-aspp": partial(UNet, refine="aspp"),
    "pyramid": Pyramid,
    "structure": Structure,
}
SEED = ("autoencoder", "unet", "unet-simple", "unet-aspp")  # those of the experiment that mend starts from


def build(name: str, **options: Any) -> nn.Module:
    """The network `name` with fresh weights; `options` are its constructor's (`width`, `hole_channel`).

    Raises InputError for a name that is not in `MODELS`, naming the nearest, and for an option that this network does not have.
    """
    maker = pick(MODELS, name, "model")
    foreign = sorted(set(options) - set(signature(maker).parameters))
    if foreign:
        raise InputError(f"{name} has no {', '.join(foreign)}; it has {', '.join(signature(maker).parameters)}.")
    return maker(**options)
