"""Loss terms by name; a training loss is a dict of weights.

A term is `(raw, image, hole) -> scalar`. To add one: a function, one line in `LOSSES`, one test.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mend.errors import InputError, pick
from mend.images import composite
from mend.inpaint.arrays import halve
from mend.models.classifier import difference, load_classifier


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


def hole_log_mse(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """The logarithm of each image's mean squared error over its missing pixels, averaged over the batch.

    It falls as the mean PSNR rises (Chen et al., 2022, arXiv:2204.04676): a faint picture counts as much as a strong one. 1e-4,
    an error of 2.5 grey levels, is added: what is as near as that need not come nearer.
    """
    error = ((raw - image).square() * hole).sum((1, 2, 3)) / (3 * hole.sum((1, 2, 3))).clamp(min=1)
    return (error + 1e-4).log().mean()


def lpips_cifar(raw: Tensor, image: Tensor, hole: Tensor) -> Tensor:
    """How differently the whole raw output looks to this project's CIFAR-10 classifier; see `models.classifier.difference`."""
    look = load_classifier(raw.device).layers
    return difference(look(raw), look(image)).mean()


class Features(nn.Module):
    """The hidden states of a pretrained MobileNetV2 at some depths, of images (B, 3, H, W) in [0, 1].

    `DEPTHS` are numbers of its residual blocks: of side H/4, H/4, H/8, H/16 and H/16 where its output stride is 16.
    """

    DEPTHS = (0, 1, 3, 6, 10)

    def __init__(self, backbone: Any, mean: Any, deviation: Any) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self.stem = backbone.conv_stem
        cuts = pairwise((0, *(depth + 1 for depth in self.DEPTHS)))
        self.stages = nn.ModuleList(nn.Sequential(*backbone.layer[start:end]) for start, end in cuts)

    def forward(self, image: Tensor) -> list[Tensor]:
        state = self.stem((image - self.mean) / self.deviation)
        states = []
        for stage in self.stages:
            state = stage(state)
            states.append(state)
        return states


@lru_cache(maxsize=4)
def load_features(folder: str | None, device: torch.device) -> Features:
    """The backbone of the DeepLabV3 in a `transformers` folder, its weights fixed. InputError where there is none."""
    if folder is None:
        raise InputError("the loss term features needs a network; name its folder by `feature_network`.")
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    try:
        network: Any = AutoModelForSemanticSegmentation.from_pretrained(folder, local_files_only=True)
        processor: Any = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        found = Features(network.mobilenet_v2, processor.image_mean, processor.image_std)
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"no network for the loss term features in {folder!r}: {str(error).splitlines()[0]} Expected a folder with the "
            "config.json, model.safetensors and preprocessor_config.json of a transformers DeepLabV3 on MobileNetV2."
        ) from error
    found = found.float().eval().requires_grad_(False)  # it may be kept in half precision
    layer: Any
    for layer in found.modules():
        if isinstance(getattr(layer, "normalization", None), nn.BatchNorm2d):
            layer.convolution = fuse_conv_bn_eval(layer.convolution, layer.normalization)
            layer.normalization = None
    return found.to(memory_format=torch.channels_last).to(device)


def features(raw: Tensor, image: Tensor, hole: Tensor, network: str | None = None) -> Tensor:
    """How differently filled and true image look to the pretrained network in the folder `network`.

    The squared difference of each of its hidden states, divided by the mean square of the true one, summed. Such a network
    sees texture where pixels differ anyway: Johnson et al., 2016, arXiv:1603.08155; one that sees far serves holes best:
    Suvorov et al., 2021, arXiv:2109.07161. Images below 32 pixels a side cost nothing: its last states would be one cell.

    Seven rows and columns are left out, another number of them at the top and the left for every batch. Else the cells of that
    network would always lie alike on those of the one that is trained, which then learns dots that only the former likes.
    """
    look = load_features(network, raw.device)
    if min(image.shape[-2:]) < 32:
        return raw.new_zeros(())
    drawn = hole.sum().long() % 64  # as good as drawn, and the same again; a GPU need not wait for it
    for axis, first in ((2, drawn // 8), (3, drawn % 8)):
        kept = first + torch.arange(image.shape[axis] - 7, device=raw.device)
        raw, image, hole = (part.index_select(axis, kept) for part in (raw, image, hole))
    kind = raw.device.type
    mixed = torch.is_autocast_enabled(kind) and kind != "cpu"  # there bf16 takes longer channel by channel
    with torch.autocast(kind, enabled=mixed):
        with torch.no_grad():
            true = look(image)
        filled = look(composite(image, raw, hole))
    each = [(a - b).float().square().mean() / b.float().square().mean() for a, b in zip(filled, true, strict=True)]
    return torch.stack(each).sum()


Term = Callable[[Tensor, Tensor, Tensor], Tensor]
LOSSES: dict[str, Term] = {
    "mse": mse,
    "l1": l1,
    "hole_mse": hole_mse,
    "hole_l1": hole_l1,
    "hole_log_mse": hole_log_mse,
    "lpips-cifar": lpips_cifar,
    "features": features,
}


def make_terms(feature_network: str | None) -> dict[str, Term]:
    """`LOSSES`, with the network by which `features` looks."""
    return {**LOSSES, "features": partial(features, network=feature_network)}


def weigh_terms(
    weights: Mapping[str, float], raw: Tensor, image: Tensor, hole: Tensor, terms: Mapping[str, Term] = LOSSES
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term unweighted. A term of weight zero is not computed."""
    values = {name: pick(terms, name, "loss")(raw, image, hole) for name, weight in weights.items() if weight}
    total = sum((weights[name] * value for name, value in values.items()), start=raw.new_zeros(()))
    return total, values


def weigh_scales(
    weights: Mapping[str, float], raws: list[Tensor], image: Tensor, hole: Tensor, terms: Mapping[str, Term] = LOSSES
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss at the finest of `raws` and, at half its weight, at each coarser one; the terms are those of the finest."""
    loss, values = weigh_terms(weights, raws[0].float(), image, hole, terms)
    for raw in raws[1:]:
        image, hole = halve(image), halve(hole)
        loss = loss + 0.5 * weigh_terms(weights, raw.float(), image, hole, terms)[0]
    return loss, values
