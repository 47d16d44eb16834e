"""How far a training by two processes is from that by one, and what processes of a training would send each other.

    python benchmarks/processes.py ../shared/data/cifar10

Trains the networks of CASES on PICTURES pictures of 32×32 with drawn masks, on the CPU: by one process, by two (`torchrun`),
and by one with another seed. Counts the weights of networks as they are trained, and the operations of one step. Writes
results/processes.json; docs/scale.md shows it.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mend.data.sources import load_images
from mend.images import write_image
from mend.models import build
from mend.models.checkpoint import find_commit

RESULT = Path(__file__).parent.parent / "results" / "processes.json"
PICTURES, EPOCHS = 4216, 3
CASES = {
    "unet-aspp": "--model unet-aspp --width 8",
    "pyramid": "--model pyramid --width 8 --loss.hole_l1 1",
}
SIZES = (("unet-aspp", 64), ("unet-simple", 64), ("unet", 64), ("unet-aspp", 16), ("pyramid", 48))


def train(folder: Path, case: str, processes: int, seed: int) -> list[float]:
    """The PSNR on the validation images after each epoch, in decibels."""
    out = folder / f"{case}-{processes}-{seed}"
    job = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    words = f"-m mend train --data {folder / 'data'} --masks {folder / 'masks'} {CASES[case]} --epochs {EPOCHS} --seed {seed}"
    more = ["--precision", "fp32", "--batch-size", "128", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *job, *words.split(), *more], check=True, env=environment)
    return [round(value, 4) for value in pd.read_csv(out / "metrics.csv")["val_psnr"]]


def count(name: str, width: int) -> dict[str, Any]:
    """The weights that are trained, and the operations for an image of 32×32, forward and backward."""
    network = build(name, width=width).to("meta")  # where a refinement is worked out everywhere, as on a GPU
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(8, 3, 32, 32, device="meta"), torch.zeros(8, 1, 32, 32, device="meta")).sum().backward()
    weights = sum(one.numel() for one in network.parameters() if one.requires_grad)
    return {"network": name, "width": width, "weights": weights, "operations": counter.get_total_flops() // 8}


def main() -> None:
    version, trained = find_commit(), {}
    counted = [count(*size) for size in SIZES]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pixels = load_images(sys.argv[1], "train").pixels
        for split, rows in (("train", range(PICTURES)), ("test", range(PICTURES, PICTURES + 10))):  # a source has a test
            (folder / "data" / split).mkdir(parents=True)
            for i in rows:
                write_image(folder / "data" / split / f"{i:05d}.png", pixels[i])
        words = f"-m mend masks {folder / 'data'} --segmenter strokes --out {folder / 'masks'}"
        subprocess.run([sys.executable, *words.split()], check=True)
        for case in CASES:
            trained[case] = {
                "one process": train(folder, case, 1, 0),
                "two processes": train(folder, case, 2, 0),
                "another seed": train(folder, case, 1, 1),
            }
            record = {"commit": version, "pictures": PICTURES, "trained": trained, "counted": counted}
            RESULT.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
