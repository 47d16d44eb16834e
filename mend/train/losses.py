"""Loss terms by name; a training loss is a dict of weights.

A term is `(raw, image, hole) -> scalar`. To add one: a function, one line in `LOSSES`, one test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mend.errors import pick

if TYPE_CHECKING:
    from torch import Tensor


def mse(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """Mean squared error over the whole raw output, known pixels included, as the reference experiment trains."""
    return (raw - image).square().mean()


def l1(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """Mean absolute error over the whole raw output."""
    return (raw - image).abs().mean()


def hole_mse(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """Mean squared error over the missing pixels of the batch."""
    return ((raw - image).square() * hole).sum() / (3 * hole.sum()).clamp(min=1)


def hole_l1(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """Mean absolute error over the missing pixels of the batch."""
    return ((raw - image).abs() * hole).sum() / (3 * hole.sum()).clamp(min=1)


def lpips_cifar(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """How differently the whole raw output looks to this project's CIFAR-10 classifier; see `models.classifier.difference`."""
    from mend.models.classifier import difference, load_classifier

    look = load_classifier(raw.device).layers
    return difference(look(raw), look(image)).mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mse": mse,
    "l1": l1,
    "hole_mse": hole_mse,
    "hole_l1": hole_l1,
    "lpips-cifar": lpips_cifar,
}


def weighted(weights: Mapping[str, float], raw: Tensor, image: Tensor, hole: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term unweighted. A term of weight zero is not computed."""
    terms = {name: pick(LOSSES, name, "loss")(raw, image, hole) for name, weight in weights.items() if weight}
    total = sum((weights[name] * value for name, value in terms.items()), start=raw.new_zeros(()))
    return total, terms
