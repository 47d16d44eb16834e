"""Masks a second of each segmenter, against its library as its documentation uses it: picture by picture.

    python benchmarks/segmenters.py ../shared/data/cifar10 ../shared/models/deeplabv3_mobilenet_v2_513

The second argument is a `transformers` folder. Torchvision's networks have random weights here, which take the same time.
The library's side comes first, since loading ours changes how the process gets its memory; the best of the rounds counts for
each. Felzenszwalb is all of `mend masks`, in as many processes as there are cores. For the folder, masks at smaller working
sizes and in bfloat16 are held against those at its own size in fp32. Writes the part "segmenters" of results/performance.json.
Nothing else should run.
"""

import argparse
import copy
import time
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from performance import record
from PIL import Image
from skimage.segmentation import felzenszwalb
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

from mend.data.sources import load_images
from mend.models.device import device_name
from mend.segment.make import make_masks
from mend.segment.networks import load_segmenter

Masks = Callable[[np.ndarray], np.ndarray]
COUNTS = {"deeplabv3_mobilenet_v3_large": 16, "deeplabv3_resnet50": 3, "deeplabv3_resnet101": 2}
ROUNDS = 2
SIDES = (257, 385, 449, 481)
COMPARED = 100  # pictures


def at_size(found: torch.Tensor, picture: np.ndarray) -> np.ndarray:
    return F.interpolate(found[None, None].float(), picture.shape[:2], mode="area")[0, 0].numpy() >= 0.5


def transformers_masks(folder: str) -> Masks:
    network, processor = (
        AutoModelForSemanticSegmentation.from_pretrained(folder).eval(),
        AutoImageProcessor.from_pretrained(folder),
    )

    @torch.inference_mode()
    def mask(picture: np.ndarray) -> np.ndarray:
        inputs = processor(images=Image.fromarray(picture), return_tensors="pt")
        sizes = [tuple(inputs["pixel_values"].shape[-2:])]
        return at_size(processor.post_process_semantic_segmentation(network(**inputs), target_sizes=sizes)[0] > 0, picture)

    return lambda pictures: np.stack([mask(picture) for picture in pictures])


def torchvision_masks(name: str, network: torch.nn.Module) -> Masks:
    prepare = torchvision.models.get_model_weights(name).DEFAULT.transforms()

    @torch.inference_mode()
    def mask(picture: np.ndarray) -> np.ndarray:
        found = network(prepare(Image.fromarray(picture))[None])["out"][0].argmax(0)
        return at_size(found > 0, picture)

    return lambda pictures: np.stack([mask(picture) for picture in pictures])


def graph_regions(pictures: np.ndarray) -> np.ndarray:
    """Its regions alone: which of them is the object is our question."""
    return np.stack([felzenszwalb(picture, scale=100, sigma=0.5, min_size=20) for picture in pictures])


def timed(masks: Masks, pictures: np.ndarray) -> tuple[float, np.ndarray]:
    """Pictures a second, and what was made of them."""
    best, made = np.inf, np.empty(0)
    for _ in range(ROUNDS):
        start = time.perf_counter()
        made = masks(pictures)
        best = min(best, time.perf_counter() - start)
    return len(pictures) / best, made


def iou(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    both, either = ((op(found, truth)).sum((1, 2)) for op in (np.logical_and, np.logical_or))
    return {"pixels_equal": float((found == truth).mean()), "iou_pooled": float(both.sum() / either.sum())}


def smaller(folder: str, pictures: np.ndarray) -> dict[str, dict[str, float]]:
    """How well masks at other working sizes, and in bfloat16, agree with those that the network makes at its own size."""
    whole = load_segmenter(f"hf:{folder}", "cpu")
    truth = whole.masks(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        start = time.perf_counter()
        found = {
            "bfloat16": {
                **iou(whole.masks(pictures), truth),
                "pictures_a_second": len(pictures) / (time.perf_counter() - start),
            }
        }
    own = AutoImageProcessor.from_pretrained
    for side in SIDES:

        def sized(*arguments: Any, side: int = side) -> Any:
            processor = own(*arguments)
            processor.size = {"height": side, "width": side}
            return processor

        AutoImageProcessor.from_pretrained = sized
        segmenter = load_segmenter(f"hf:{folder}", "cpu")
        start = time.perf_counter()
        scores = iou(segmenter.masks(pictures), truth)
        found[f"{side} pixels"] = {**scores, "pictures_a_second": len(pictures) / (time.perf_counter() - start)}
    AutoImageProcessor.from_pretrained = own
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("folder")
    given = parser.parse_args()
    images = load_images(given.data, "test")
    pictures = np.array(images.pixels)
    whole = torchvision.models.get_model
    # With the second classifier that the pretrained ones have.
    networks = {name: whole(name, weights=None, weights_backbone=None, num_classes=21, aux_loss=True).eval() for name in COUNTS}
    torchvision.models.get_model = lambda name, **_: copy.deepcopy(networks[name])

    def graph_masks(pictures: np.ndarray) -> np.ndarray:
        with TemporaryDirectory() as folder:
            return make_masks(images, "felzenszwalb", folder).read(np.arange(len(images)))

    sides: dict[str, tuple[Masks, Callable[[], Masks], int]] = {
        "DeepLabV3 MobileNetV2": (
            transformers_masks(given.folder),
            lambda: load_segmenter(f"hf:{given.folder}", "cpu").masks,
            32,
        ),
        **{
            name.replace("deeplabv3_", "DeepLabV3 "): (
                torchvision_masks(name, networks[name]),
                lambda name=name: load_segmenter(name, "cpu").masks,
                count,
            )
            for name, count in COUNTS.items()
        },
        "Felzenszwalb": (graph_regions, lambda: graph_masks, len(pictures)),
    }
    libraries = {name: timed(library, pictures[:count]) for name, (library, _, count) in sides.items()}
    cases: dict[str, dict[str, Any]] = {}
    for name, (_, load, count) in sides.items():
        (theirs, made), (rate, found) = libraries[name], timed(load(), pictures[:count])
        equal = float((made == found).mean()) if made.dtype == np.bool_ else None
        cases[name] = {"n": count, "library": theirs, "mend": rate, "times": rate / theirs, "equal": equal}
        print(name, cases[name], flush=True)
    record(
        "segmenters",
        {
            "device": device_name(torch.device("cpu")),
            "cases": cases,
            "agreement with its own size in fp32": {"n": COMPARED, **smaller(given.folder, pictures[:COMPARED])},
        },
    )


if __name__ == "__main__":
    main()
