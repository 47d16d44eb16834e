"""The networks by name."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

from mend.errors import InputError, pick
from mend.models.baselines import Autoencoder
from mend.models.network import Network
from mend.models.pyramid import Pyramid, Structure
from mend.models.unet import UNet

MODELS: dict[str, Callable[..., Network]] = {
    "autoencoder": Autoencoder,
    "unet": partial(UNet, refine="none"),
    "unet-simple": partial(UNet, refine="simple"),
    "unet-aspp": partial(UNet, refine="aspp"),
    "unet-context": partial(UNet, refine="context", hole_channel=True, prefilled=True),
    "pyramid": Pyramid,
    "structure": Structure,
}
REFERENCE = ("autoencoder", "unet", "unet-simple", "unet-aspp")  # those of the reference experiment
SEED = REFERENCE  # its name in version 0.1


def build(name: str, **options: Any) -> Network:
    """The network `name` with fresh weights; `options` are its constructor's (`width`, `hole_channel`).

    Raises InputError for a name that is not in `MODELS`, naming the nearest, and for an option that this network does not have.
    """
    maker = pick(MODELS, name, "model")
    foreign = sorted(set(options) - set(signature(maker).parameters))
    if foreign:
        raise InputError(f"{name} has no {', '.join(foreign)}; it has {', '.join(signature(maker).parameters)}.")
    return maker(**options)
