"""How long the full protocol takes for one network: 10,000 images; PSNR, SSIM, MAE, LPIPS-CIFAR and FID-CIFAR, all views.

    python benchmarks/evaluation_speed.py results/cifar10-object-v1/models/unet-aspp-w16 ../shared/data/cifar10 masks/cifar10

Runs `mend evaluate` as a process, into an empty folder; writes results/evaluation-speed.json. Nothing else should run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from mend.evaluate.result import read_result
from mend.models.checkpoint import commit
from mend.models.device import device_name, find_device

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model")
parser.add_argument("data")
parser.add_argument("masks")
parser.add_argument("--runs", type=int, default=3)
arguments = parser.parse_args()

METRICS = "psnr,ssim,mae,lpips-cifar,fid-cifar"
times: list[dict[str, float]] = []
for _ in range(arguments.runs):
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mend", "evaluate", arguments.model, "--no-classical", "--metrics", METRICS]
        command += ["--data", arguments.data, "--masks", arguments.masks, "--out", f"{folder}/result"]
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        scored = read_result(f"{folder}/result")
        (method,) = scored.methods.values()
        times.append({"process": round(time.perf_counter() - started, 1), "scoring": method.seconds})
        print(times[-1], flush=True)

result = {
    "n": scored.n,
    "metrics": METRICS.split(","),
    "seconds": times,
    "slowest": max(t["process"] for t in times),
    "model": Path(arguments.model).name,
    "device": device_name(find_device("auto")),
    "commit": commit(),
    "torch": torch.__version__,
}
out = Path(__file__).parent.parent / "results" / "evaluation-speed.json"
out.write_text(json.dumps(result, indent=1) + "\n")
print(json.dumps(result, indent=1))
