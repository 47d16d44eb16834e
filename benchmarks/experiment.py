"""The whole experiment, timed: masks by a segmenter, unet-simple and unet-aspp trained and evaluated. Made for a GPU.

    python benchmarks/experiment.py ../shared/data/cifar10 --segmenter deeplabv3_resnet50
    python benchmarks/experiment.py DATA --width 8 --epochs 1 --segmenter felzenszwalb --device cpu    # a trial

Each stage is a `mend` command in a process of its own, as a person runs it; PSNR and SSIM are evaluated. Writes the part
"experiment" of results/performance.json.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from performance import record

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data")
parser.add_argument("--segmenter", default="deeplabv3_resnet50")
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--epochs", type=int, default=15)
parser.add_argument("--device", default="auto")
given = parser.parse_args()


def seconds(*words: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "mend", *words], check=True, cwd=Path(__file__).parent.parent)
    return round(time.perf_counter() - start, 1)


with TemporaryDirectory() as name:
    masks, folder = f"{name}/masks", Path(name)
    found = {"masks": seconds("masks", given.data, "--segmenter", given.segmenter, "--out", masks, "--device", given.device)}
    epochs = {}
    for model in ("unet-simple", "unet-aspp"):
        where = ["--data", given.data, "--masks", masks]
        how = ["--model", model, "--width", str(given.width), "--epochs", str(given.epochs)]
        compiled = ["--compile"] if torch.cuda.is_available() else []  # on a CPU compiled refinements are dense
        found[f"train {model}"] = seconds("train", *where, *how, *compiled, "--out", str(folder / model))
        epochs[model] = pd.read_csv(folder / model / "metrics.csv")["seconds"].round(2).tolist()
    runs = [str(folder / "unet-simple"), str(folder / "unet-aspp")]
    how = ["--protocol", "cifar10-object", "--metrics", "psnr,ssim", "--no-classical", "--device", given.device]
    found["evaluate both"] = seconds("evaluate", *runs, "--data", given.data, "--masks", masks, *how, "--out", f"{name}/result")
record(
    "experiment", {**vars(given), "data": Path(given.data).name, "seconds": found, "all": sum(found.values()), "epochs": epochs}
)
print(found, sum(found.values()))
