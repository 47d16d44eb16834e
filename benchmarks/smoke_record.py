"""Make the record that `mend reproduce … --tier smoke` does again: small networks on the embedded photographs.

    python benchmarks/smoke_record.py

Writes results/smoke.json and results/smoke/. One recipe with two seeds, so that its row over seeds is there too.
"""

import shutil
from pathlib import Path

from mend.data.sources import load_images
from mend.evaluate.protocol import read_protocol
from mend.evaluate.run import evaluate
from mend.inpaint.classical import CLASSICAL
from mend.report import report
from mend.segment.make import make_masks
from mend.train.config import TrainConfig
from mend.train.run import train

METRICS = ("psnr", "ssim", "lpips-cifar", "fid-cifar", "mae")
RUNS = {"unet-w8-seed0": ("unet", 0), "unet-w8-seed1": ("unet", 1)}

work, out = Path("runs/smoke"), Path("results/smoke")
for split in ("train", "test"):
    make_masks(load_images("photos", "all" if split == "train" else split), "felzenszwalb", work / "masks" / split)
for name, (model, seed) in RUNS.items():
    # fp32, because not every machine that does it again has bf16; a rate that falls to zero, because without it so short a
    # training ends 0.6 dB elsewhere on another number of threads, and with it 0.02 dB
    steady = {"lr": 2e-3, "schedule": "cosine", "precision": "fp32"}
    train(TrainConfig("photos", str(work / "masks"), model, 8, epochs=2, batch_size=32, seed=seed, **steady), work / name)
methods = [*(str(work / name) for name in RUNS), *CLASSICAL]
evaluate(methods, read_protocol("photos-object-v1"), out, masks=str(work / "masks"), metrics=METRICS)
report(out, out)
shutil.rmtree(out / "pictures")
