"""How well the masks made here through `transformers` agree with the given ones, which the quantized network made.

    python benchmarks/mask_agreement.py ../shared/models/deeplabv3_mobilenet_v2_513 ../shared/data/cifar10 --n 400

Writes results/mask-agreement.json: pixel agreement and foreground intersection over union at 32×32.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from mend.data.sources import load_images
from mend.models.checkpoint import find_commit
from mend.models.device import device_name
from mend.progress import progress
from mend.segment.networks import load_segmenter

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=Path, help="folder of the transformers checkpoint")
parser.add_argument("data", type=Path, help="CIFAR-10 with deeplabv3-masks-test.npz beside it")
parser.add_argument("--n", type=int, default=400, help="the first so many test images")
arguments = parser.parse_args()

images = load_images(str(arguments.data), "test")
images = images.part(np.arange(min(arguments.n, len(images))))
segmenter = load_segmenter(f"hf:{arguments.model}", "auto")
with np.load(arguments.data / "deeplabv3-masks-test.npz") as archive:
    given = np.unpackbits(archive["mask"][: len(images)], axis=1).reshape(-1, 32, 32).astype(bool)

ours = np.zeros_like(given)
started = time.perf_counter()
with progress("segment", "images") as on_batch:
    for start in range(0, len(images), segmenter.batch):
        part = slice(start, start + segmenter.batch)
        ours[part] = segmenter.masks(images.pixels[part])
        on_batch(min(start + segmenter.batch, len(images)), len(images))
seconds = time.perf_counter() - started

union = (ours | given).sum((1, 2))
found = union > 0  # where neither finds anything there is no foreground to compare; where one does, the union is missed
iou = (ours & given).sum((1, 2))[found] / union[found]
both = ours.any((1, 2)) & given.any((1, 2))
result = {
    "n": len(images),
    "pixels_equal": round(float((ours == given).mean()), 4),
    "iou_n": int(found.sum()),
    "iou_mean": round(float(iou.mean()), 4),
    "iou_median": round(float(np.median(iou)), 4),
    "iou_n_both": int(both.sum()),
    "iou_mean_both": round(float(iou[both[found]].mean()), 4),
    "iou_median_both": round(float(np.median(iou[both[found]])), 4),
    "iou_pooled": round(float((ours & given).sum() / (ours | given).sum()), 4),
    "images_per_second": round(len(images) / seconds, 2),
    "fingerprint": images.fingerprint,
    "weights": segmenter.weights,
    "model": arguments.model.name,
    "commit": find_commit(),
    "torch": torch.__version__,
    "device": device_name(torch.device("cuda" if torch.cuda.is_available() else "cpu")),
}
out = Path(__file__).parent.parent / "results" / "mask-agreement.json"
out.write_text(json.dumps(result, indent=1) + "\n")
print(json.dumps(result, indent=1))
