"""One object of a picture, chosen by its name: what a person who fills a photograph asks for."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mend.errors import InputError, make_unknown_error
from mend.segment.networks import Segmenter

LARGEST = "largest"
# Of the longer side. A rim of the object that stays is filled back in. Against the outlines that GrabCut finds near 39 objects
# in BSDS photographs, the masks of a DeepLabV3 cover 90 % of an object as they are, 97 % when grown by 1 %, 99 % by 2 %; what
# more would add is mostly not the object.
GROW = 0.02
GRAPH_SIDE = 256  # longer side for graph segmentation: in larger pictures its regions are parts of objects


def make_object_finder(name: str, segmenter: Segmenter) -> Callable[[np.ndarray], tuple[np.ndarray, str]]:
    """What finds the object `name` in a uint8 (H, W, 3) picture: its hole (1, 1, H, W), and in words what it is.

    `name` is a class of the segmenter, all of whose pixels are meant; or "largest", the largest connected region of objects,
    whatever they are: a rider is found with the horse. A found hole should be grown by `GROW` at least.
    Raises InputError for a name that the segmenter does not know; what is returned, for a picture that does not show it.
    """
    find = _find_region if segmenter.scores is None else _find_class
    index = _find_index(name, segmenter)

    def hole_of(pixels: np.ndarray) -> tuple[np.ndarray, str]:
        mask, what = find(pixels, index, segmenter)
        return mask.astype(np.float32)[None, None], what

    return hole_of


def _find_index(name: str, segmenter: Segmenter) -> int | None:
    """The class of a name; None for "largest"."""
    if name == LARGEST:
        return None
    if segmenter.scores is None:
        raise InputError(
            f'{segmenter.name} finds regions and knows no names such as {name!r}. Ask for `object="largest"`, or take a '
            'network: `segmenter="deeplabv3_resnet101"`, or hf:FOLDER.'
        )
    for index, known in enumerate(segmenter.classes):
        if _simplify(known) == _simplify(name) and index != segmenter.background:
            return index
    objects = [known for index, known in enumerate(segmenter.classes) if index != segmenter.background]
    raise make_unknown_error("object", name, [*objects, LARGEST])


def _simplify(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", " -_"))  # VOC writes pottedplant


def _find_class(pixels: np.ndarray, index: int | None, segmenter: Segmenter) -> tuple[np.ndarray, str]:
    """The pixels (H, W) of one class, or of the largest connected objects, and what they are."""
    classes = map_classes(pixels, segmenter)
    shares = _list_shares(classes, segmenter)
    if not shares:
        raise InputError(f"{segmenter.name} finds no object in the picture. Give a `mask`.")
    if index is not None:
        mask = classes == index
        if not mask.any():
            raise InputError(
                f"no {segmenter.classes[index]} is found in the picture, but {', '.join(shares)}. Name one of these."
            )
        return mask, segmenter.classes[index]
    _, regions, facts, _ = cv2.connectedComponentsWithStats((classes != segmenter.background).astype(np.uint8))
    mask = regions == 1 + facts[1:, cv2.CC_STAT_AREA].argmax()
    return mask, " and ".join(_list_shares(classes[mask], segmenter))


def _list_shares(classes: np.ndarray, segmenter: Segmenter) -> list[str]:
    """The objects among `classes`, each with its share, the largest first."""
    shares = np.bincount(classes.ravel(), minlength=len(segmenter.classes)) / classes.size
    there = [i for i in np.argsort(-shares) if shares[i] > 0 and i != segmenter.background]
    return [segmenter.classes[i] if shares[i] == 1 else f"{segmenter.classes[i]} ({shares[i]:.1%})" for i in there]


def _find_region(pixels: np.ndarray, index: int | None, segmenter: Segmenter) -> tuple[np.ndarray, str]:
    """The region (H, W) that a segmenter without classes finds in the picture made small."""
    height, width = pixels.shape[:2]
    factor = min(1.0, GRAPH_SIDE / max(height, width))
    small = Image.fromarray(pixels).resize(
        (max(1, round(width * factor)), max(1, round(height * factor))), Image.Resampling.BOX
    )
    mask = cv2.resize(segmenter.masks(np.asarray(small)[None])[0].astype(np.float32), (width, height)) >= 0.5
    if not mask.any():
        raise InputError(f"{segmenter.name} finds no object in the picture. Give a `mask`.")
    return mask, "a region"


@torch.inference_mode()
def map_classes(pixels: np.ndarray, segmenter: Segmenter) -> np.ndarray:
    """For each pixel of a uint8 (H, W, 3) picture the class that a network finds there: (H, W), an index of its classes.

    The logits are scaled to the picture and then compared, which makes smooth borders at any size.
    """
    assert segmenter.scores is not None
    scores = segmenter.scores(pixels[None]).float()
    first, *others = scores.argmax(1).unique().tolist()  # not all classes: 21 maps of 24 megapixels would be 2 GB

    def scaled(index: int) -> Tensor:
        return F.interpolate(scores[:, index : index + 1], pixels.shape[:2], mode="bilinear", align_corners=False)

    best = scaled(first)
    classes = torch.full_like(best, first, dtype=torch.int16)
    for index in others:
        score = scaled(index)
        classes[score > best] = index
        best = torch.maximum(score, best)
    return classes[0, 0].cpu().numpy()
