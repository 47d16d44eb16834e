"""Object masks: a segmenter finds what is in a picture, whatever is no background is the mask.

A segmenter is made by `(name, device) -> Segmenter`. To add one: a function, one line in `SEGMENTERS`, one test.
"""

import copy
import ctypes
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mend.errors import InputError, pick
from mend.models.device import find_device
from mend.models.network import hash_weights

SIDE = 520  # pixels: the short side at which torchvision evaluates its networks (`weights.transforms()`)
IMAGENET = (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Segmenter:
    """`masks` takes uint8 (n, H, W, 3) pixels to (n, H, W) bool, True = object. `weights` is the SHA-256 of its weights.

    A network also has `scores`, which takes the pixels to logits (n, C, h, w) at its own resolution, with the names of the C
    `classes` and which of them is the background.
    """

    name: str
    weights: str
    masks: Callable[[np.ndarray], np.ndarray]
    batch: int  # pictures at once
    scores: Callable[[np.ndarray], Tensor] | None = None
    classes: tuple[str, ...] = ()
    background: int = 0


def load_segmenter(name: str, device: str = "auto") -> Segmenter:
    """The segmenter `name`: a key of `SEGMENTERS`, or `hf:owner/name` or `hf:folder` for a `transformers` checkpoint."""
    device = str(find_device(device))
    if name.startswith("hf:"):
        return _load_transformers(name, device)
    return pick(SEGMENTERS, name, "segmenter")(name, device)


# --- Networks --------------------------------------------------------------------------------------------------------


def _load_torchvision(name: str, device: str) -> Segmenter:
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(name).DEFAULT
    try:
        network = get_model(name, weights=weights)
    except OSError as error:  # URLError is one
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise InputError(
            f"the weights of {name} could not be fetched ({error}). They are looked for in {file}; put them there, use a "
            'transformers checkpoint from a folder (`segmenter="hf:FOLDER"`), or `segmenter="felzenszwalb"`, which needs none.'
        ) from error
    # Class 0 is the background.
    classes = tuple(weights.meta["categories"])

    def logits(network: Any, x: Tensor) -> Tensor:
        # The whole network would enlarge all classes to the size of x, and ask a second classifier that helped in training.
        return network.classifier(network.backbone(x)["out"])

    return _make_segmenter(name, network, logits, SIDE, IMAGENET, classes, 0, device)


def _load_transformers(name: str, device: str) -> Segmenter:
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    path = name.removeprefix("hf:")
    try:
        network: Any = AutoModelForSemanticSegmentation.from_pretrained(path)
        processor: Any = AutoImageProcessor.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no semantic-segmentation checkpoint {path!r}: {str(error).splitlines()[0]} Expected a name on the hub "
            "(hf:owner/name) or a folder with config.json, model.safetensors and preprocessor_config.json (hf:FOLDER)."
        ) from error
    size: Any = processor.size
    side = int(size.get("shortest_edge") or size.get("height"))
    statistics = (processor.rescale_factor, tuple(processor.image_mean), tuple(processor.image_std))
    labels: dict[int, str] = network.config.id2label
    background = next((i for i, label in labels.items() if label.lower() in ("background", "other", "unlabeled")), None)
    if background is None:
        raise InputError(f"{path} has no background class among its {len(labels)}; what is an object is then undefined.")
    classes = tuple(labels[i] for i in sorted(labels))
    return _make_segmenter(name, network, lambda network, x: network(x).logits, side, statistics, classes, background, device)


def _make_segmenter(
    name: str,
    network: nn.Module,
    logits: Callable[[Any, Tensor], Tensor],
    side: int,
    statistics: tuple[float, Any, Any],  # of a grey level: scale, then mean and standard deviation
    classes: tuple[str, ...],
    background: int,
    device: str,
) -> Segmenter:
    digest = hash_weights(network)
    network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    example = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    # Tried on the CPU for every device: by a GPU's TF32 alone the outputs would differ too much to be taken for equal.
    network = fold_norms(network, lambda tried: logits(tried, example)).to(device)
    scale = statistics[0]
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in statistics[1:])

    others = [i for i in range(len(classes)) if i != background]

    def scaled(pixels: np.ndarray) -> tuple[int, int]:
        factor = side / min(pixels.shape[1:3])
        return round(pixels.shape[1] * factor), round(pixels.shape[2] * factor)

    @torch.inference_mode()
    def scores(pixels: np.ndarray) -> Tensor:
        image = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2)  # (n, 3, H, W) uint8
        # Scaled as 8-bit pictures, as Pillow does and as these networks were trained: with fractions of a grey level a
        # quantized one agreed on 1 % fewer pixels. On the CPU for every device, so that the masks are the same.
        levels = F.interpolate(image, scaled(pixels), mode="bicubic", antialias=True)
        if device.startswith("cuda"):
            levels = levels.pin_memory()  # else the copy would wait for all that the GPU has still to do
        levels = levels.to(device, non_blocking=True)
        return logits(network, ((scale * levels - mean) / std).contiguous(memory_format=torch.channels_last))

    @torch.inference_mode()
    def masks_of(pixels: np.ndarray) -> Tensor:
        # What is an object is decided at the network's own resolution: where any class has more than the background. The mask
        # is the share of object in each pixel, halved.
        score = scores(pixels)
        lead = score[:, others] - score[:, background : background + 1]
        found = upsample(lead.contiguous(), *scaled(pixels)).amax(1, keepdim=True) > 0
        share = F.interpolate(found.float(), pixels.shape[1:3], mode="area")
        return share[:, 0] >= 0.5

    if device == "cpu":
        _keep_memory()
    # On a CPU one by one: the feature maps of a single picture stay in its cache. A GPU is waited for after several batches:
    # while it works at one, the next is scaled.
    at_once, batch = (1, 8) if device == "cpu" else (64, 256)

    def masks(pixels: np.ndarray) -> np.ndarray:
        return torch.cat([masks_of(pixels[i : i + at_once]) for i in range(0, len(pixels), at_once)]).cpu().numpy()

    return Segmenter(name, digest, masks, batch, scores, classes, background)


def _keep_memory() -> None:
    """Let glibc keep what it has for the next feature map. Fetched anew from the system, page by page, they take a third of the
    time of a small network."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):  # another C library
            mallopt, trim_threshold, mmap_max = ctypes.CDLL(None).mallopt, -1, -4
            mallopt(trim_threshold, -1)
            mallopt(mmap_max, 0)


def upsample(maps: Tensor, height: int, width: int) -> Tensor:
    """`F.interpolate(maps, (height, width), mode="bilinear")` as two products of matrices, which take a quarter of its time."""

    def weights(size: int, of: int) -> Tensor:
        one_each = torch.eye(of, device=maps.device)[None]
        return F.interpolate(one_each, size, mode="linear", align_corners=False)[0]  # (of, size)

    return weights(height, maps.shape[-2]).T @ maps @ weights(width, maps.shape[-1])


@torch.inference_mode()
def fold_norms(network: nn.Module, output: Callable[[nn.Module], Tensor]) -> nn.Module:
    """The network in evaluation with each batch norm put into the convolution before it.

    That one follows the other is guessed from their order among the parts of a module, and tried: where its `output` would be
    another, the network itself comes back.
    """
    folded = copy.deepcopy(network)
    for module in folded.modules():
        for (one, conv), (other, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and conv.out_channels == norm.num_features:
                setattr(module, one, fuse_conv_bn_eval(conv, norm))
                setattr(module, other, nn.Identity())
    before, after = output(network), output(folded)
    return folded if torch.allclose(before, after, rtol=1e-3, atol=1e-3 * float(before.std())) else network


# --- Graph segmentation ----------------------------------------------------------------------------------------------


def _load_felzenszwalb(name: str, device: str) -> Segmenter:
    return Segmenter(name, "", lambda pixels: np.stack([find_graph_object(picture) for picture in pixels]), 256)


def find_graph_object(pixels: np.ndarray) -> np.ndarray:
    """The most object-like region of a uint8 (H, W, 3) picture by graph segmentation, (H, W) bool.

    Felzenszwalb and Huttenlocher, 2004. Of the regions that cover 2 % to 50 % the one is taken that is large, central and
    keeps off the border; with its inner gaps closed. Nothing where no region is of that size.
    """
    from scipy.ndimage import binary_fill_holes
    from skimage.segmentation import felzenszwalb

    height, width = pixels.shape[:2]
    regions = felzenszwalb(pixels, scale=100, sigma=0.5, min_size=max(4, height * width // 50))
    off_centre, edge = _measure_frame(height, width)
    count = np.bincount(regions.ravel())
    share = count / regions.size
    distance = np.bincount(regions.ravel(), off_centre.ravel()) / count
    on_edge = np.bincount(regions[edge], minlength=len(share)) / edge.sum()
    score = np.sqrt(share) * (1 - distance) * (1 - on_edge) ** 2 * ((share >= 0.02) & (share <= 0.5))
    best = score.argmax()
    return np.asarray(binary_fill_holes((regions == best) & (score[best] > 0)))


@lru_cache(maxsize=1)
def _measure_frame(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel of a picture: how far it is from the centre, and whether it is at the edge."""
    y, x = np.mgrid[:height, :width]
    edge = np.ones((height, width), np.bool_)
    edge[1:-1, 1:-1] = False
    return np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5), edge


SEGMENTERS: dict[str, Callable[[str, str], Segmenter]] = {
    "deeplabv3_resnet50": _load_torchvision,
    "deeplabv3_resnet101": _load_torchvision,
    "deeplabv3_mobilenet_v3_large": _load_torchvision,
    "felzenszwalb": _load_felzenszwalb,
}
