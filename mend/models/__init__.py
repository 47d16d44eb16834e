"""The networks by name. Every one is `(masked, hole) -> raw` and states its `stride`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from mend.errors import pick
from mend.models.baselines import Autoencoder
from mend.models.unet import UNet

MODELS: dict[str, Callable[..., nn.Module]] = {
    "autoencoder": Autoencoder,
    "unet": partial(UNet, refine="none"),
    "unet-simple": partial(UNet, refine="simple"),
    "unet-aspp": partial(UNet, refine="aspp"),
}


def build(name: str, **options: Any) -> nn.Module:
    """The network `name` with fresh weights; `options` are its constructor's (`width`, `hole_channel`).

    Raises InputError for a name that is not in `MODELS`, naming the nearest.
    """
    return pick(MODELS, name, "model")(**options)
