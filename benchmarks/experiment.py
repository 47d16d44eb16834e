"""The whole experiment, timed: masks by a segmenter, unet-simple and unet-aspp trained and evaluated. Made for a GPU.

    python benchmarks/experiment.py ../shared/data/cifar10 --segmenter hf:../shared/models/deeplabv3_mobilenet_v2_513
    python benchmarks/experiment.py photos --width 8 --epochs 2 --segmenter felzenszwalb    # a trial

Each stage is a `mend` command in a process of its own, as a person runs it; nothing is downloaded where data and segmenter are
folders. Evaluated are the metrics that come with mend. The rate of training is that of whole epochs, validation included and
the first left out, in which the network is compiled; its arithmetic is held against the machine's rate of bfloat16 matrix
products. Writes the part "experiment" of results/performance.json. Nothing else should run.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from performance import record
from training import batches, device, flops, matrix_rate

from mend.evaluate.result import read_result
from mend.models import build

MODELS = ("unet-simple", "unet-aspp")
METRICS = "psnr,ssim,mae,lpips-cifar,fid-cifar"
FIELDS = ("psnr", "ssim", "lpips-cifar", "fid-cifar")  # of which the means are kept


def seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mend", *words], check=True, cwd=Path(__file__).parent.parent)
    return round(time.perf_counter() - start, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--segmenter", default="deeplabv3_resnet50")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=15)
    given = parser.parse_args()
    if given.epochs < 2:
        parser.error(f"--epochs is {given.epochs}; expected 2 or more, since the first is not counted.")
    machine = matrix_rate()
    with TemporaryDirectory() as name:
        masks, folder = f"{name}/masks", Path(name)
        found = {"masks": seconds("masks", given.data, "--segmenter", given.segmenter, "--out", masks)}
        where = ["--data", given.data, "--masks", masks]
        source = batches(given.data, masks)
        trained: dict[str, Any] = {}
        for model in MODELS:
            how = ["--model", model, "--width", str(given.width), "--epochs", str(given.epochs), "--out", str(folder / model)]
            compiled = ["--compile"] if torch.cuda.is_available() else []  # on a CPU compiled refinements are dense
            found[f"train {model}"] = seconds("train", *where, *how, *compiled)
            epochs = pd.read_csv(folder / model / "metrics.csv")["seconds"]
            a_second = len(source.rows) / float(epochs[1:].median())
            work = flops(build(model, width=given.width).to(device), *next(iter(source)))
            trained[model] = {
                "n": len(source.rows),
                "epochs": epochs.round(2).tolist(),
                "pictures_a_second": round(a_second, 1),
                "gflop_per_picture": round(work / 1e9, 3),
                "of_the_matrix_rate": round(a_second * work / machine, 3),
            }
        how = ["--protocol", "cifar10-object", "--metrics", METRICS, "--no-classical", "--out", f"{name}/result"]
        found["evaluate both"] = seconds("evaluate", *(str(folder / model) for model in MODELS), *where, *how)
        for model, scored in read_result(f"{name}/result").methods.items():
            trained[model]["scored"] = {metric: round(scored.metrics[metric].mean or 0, 4) for metric in FIELDS}
    facts = {**vars(given), "data": Path(given.data).name, "segmenter": Path(given.segmenter).name}
    total = {"seconds": found, "all": round(sum(found.values()), 1), "bf16_tflops": round(machine / 1e12, 3)}
    record("experiment", {**facts, **total, "models": trained})
    print(found, total["all"], trained)


if __name__ == "__main__":
    main()
