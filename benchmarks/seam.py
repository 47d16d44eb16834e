"""What it brings to even out the seam: hole and rim of CIFAR-10's test images, with and without, by the same networks.

    python benchmarks/seam.py ../shared/data/cifar10 masks/cifar10

Writes results/seam.json: the mean with and without, and the paired difference with its 95 % interval over images.
"""

import argparse
import json
from pathlib import Path

import torch

from mend.evaluate.metrics import find_rim, psnr, ssim
from mend.evaluate.protocol import read_protocol
from mend.evaluate.scenes import load_scenes
from mend.evaluate.statistics import bootstrap
from mend.filling.load import load_filler
from mend.images import composite, mask_out, write_bytes
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.progress import progress

RESULTS = Path(__file__).parent.parent / "results"
NETWORKS = ("autoencoder-w16", "unet-w16", "unet-simple-w16", "unet-aspp-w16")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data")
parser.add_argument("masks")
parser.add_argument("--limit", type=int, default=10_000)
asked = parser.parse_args()

scenes = load_scenes(read_protocol("cifar10-object-v1"), asked.data, asked.masks).part(range(asked.limit))
found: dict[str, dict[str, dict[str, float]]] = {}
for name in NETWORKS:
    fillers = [load_filler(RESULTS / "cifar10-object-v1" / "models" / name, seam=seam) for seam in (False, True)]
    scores: dict[str, list[torch.Tensor]] = {}
    with progress(name, "images") as report:
        for places, image, hole in scenes.batches():
            seen = mask_out(image, hole).numpy(), hole.numpy()
            filled = [composite(image, torch.from_numpy(filler(*seen)), hole) for filler in fillers]
            for metric in (psnr, ssim):
                for view, where in (("hole", hole), ("band", find_rim(hole))):
                    pair = torch.stack([metric(one, image, where) for one in filled], 1)
                    scores.setdefault(f"{metric.__name__}_{view}", []).append(pair)
            report(int(places[-1]) + 1, len(scenes))
    for column, parts in scores.items():
        pairs = torch.cat(parts).double()
        pairs = pairs[pairs.isfinite().all(1)].numpy()
        apart = pairs[:, 1] - pairs[:, 0]
        low, high = bootstrap(apart[:, None])
        means = {"without": pairs[:, 0].mean(), "with": pairs[:, 1].mean(), "difference": apart.mean()}
        found.setdefault(name, {})[column] = {**means, "low": low[0], "high": high[0], "n": len(apart)}
    print(name, found[name]["psnr_hole"], flush=True)
facts = {"commit": find_commit(), "device": device_name(find_device("auto")), "torch": torch.__version__}
write_bytes(RESULTS / "seam.json", json.dumps({**facts, "networks": found}, indent=1).encode() + b"\n")
