"""How long scoring takes: the full protocol for one network, or folders of photographs that a program filled.

    python benchmarks/evaluation_speed.py cifar10 runs/unet-aspp-w16 ../shared/data/cifar10 masks/cifar10
    python benchmarks/evaluation_speed.py folders ../shared/data/photos

`cifar10` scores 10,000 images by PSNR, SSIM, MAE, LPIPS-CIFAR and FID-CIFAR in all views. `folders` makes pairs of photographs
and their fillings by one colour, with boxes and strokes of 10, 20 and 30 % in turn, and scores them by PSNR, SSIM, MAE and
LPIPS-CIFAR: at 481×321, and for the growth, without LPIPS-CIFAR, a few of each size up to 12 megapixels. Runs `mend evaluate`
as a process, into an empty folder. Each writes its part of results/evaluation-speed.json, with the load of the machine when it
began: nothing else should run. Seconds of the processor say more than those of the clock where something does.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from mend.evaluate.result import read_result
from mend.filling.load import load_filler
from mend.images import find_pictures, read_rgb, write_image
from mend.masks.draw import DRAWN
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device

OUT = Path(__file__).parent.parent / "results" / "evaluation-speed.json"
PIXELS = "psnr,ssim,mae"
SIDES = ((1000, 1000), (2000, 1500), (4000, 3000))  # width × height: 1, 3 and 12 megapixels


def evaluate(*words: str) -> dict[str, float]:
    """Seconds of one evaluation: of the whole process by the clock and by the processor, and of scoring alone by the clock."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "mend", "evaluate", *words, "--no-classical", "--out", f"{folder}/result"]
        environment = {**os.environ, "MEND_CACHE": os.environ.get("MEND_CACHE", f"{folder}/cache")}
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(command, check=True, env=environment, **quiet)
        after, taken = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        (method,) = read_result(f"{folder}/result").methods.values()
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"process": round(taken, 1), "processor": round(cpu, 1), "scoring": method.seconds}


def write_pairs(photos: list[Path], count: int, size: tuple[int, int] | None, out: Path) -> int:
    """Originals, masks and fillings under `out`; how many: at most `count`, those of 481×321 where no size (W, H) is given."""
    fill, made = load_filler("mean-colour"), 0
    for file in photos:
        pixels = read_rgb(file)
        if size is not None:
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC)
        elif pixels.shape[:2] != (321, 481):
            continue
        if made == count:
            break
        draw, share = DRAWN[("boxes", "strokes")[made % 2]], (0.1, 0.2, 0.3)[made % 3]
        hole = draw(*pixels.shape[:2], share, 0, made, 0)
        masked = np.where(hole[..., None], 0, pixels).astype(np.float32).transpose(2, 0, 1)[None] / 255
        raw = fill(masked, hole[None, None].astype(np.float32))[0].transpose(1, 2, 0)
        filled = np.where(hole[..., None], np.rint(255 * raw), pixels).astype(np.uint8)
        for name, picture in (("truth", pixels), ("masks", hole[..., None] * np.uint8(255)), ("filled", filled)):
            write_image(out / name / f"{made:04d}.png", picture)
        made += 1
    return made


def folders(photos: list[Path], count: int, size: tuple[int, int] | None, metrics: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        made = write_pairs(photos, count, size, Path(name))
        words = ["--truth", f"{name}/truth", "--filled", f"{name}/filled", "--masks", f"{name}/masks", "--metrics", metrics]
        taken = evaluate(*words)
    rates = {"pairs_a_second": round(made / taken["scoring"], 2)}
    return {"n": made, "size": "×".join(map(str, size or (481, 321))), "metrics": metrics.split(","), **taken, **rates}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    cifar = kinds.add_parser("cifar10")
    for name in ("model", "data", "masks"):
        cifar.add_argument(name)
    cifar.add_argument("--runs", type=int, default=3)
    photographs = kinds.add_parser("folders")
    photographs.add_argument("photos", type=Path)
    photographs.add_argument("--count", type=int, default=288)
    given = parser.parse_args()
    facts = {"load": round(os.getloadavg()[0], 1), "commit": find_commit(), "torch": torch.__version__}
    facts["device"] = device_name(find_device("auto"))
    record = json.loads(OUT.read_text(encoding="utf-8")) if OUT.exists() else {}
    if given.kind == "cifar10":
        metrics = f"{PIXELS},lpips-cifar,fid-cifar"
        words = [given.model, "--data", given.data, "--masks", given.masks, "--metrics", metrics]
        times = [evaluate(*words) for _ in range(given.runs)]
        found = {"n": 10_000, "metrics": metrics.split(","), "seconds": times, "slowest": max(t["process"] for t in times)}
        record = {**record, **found, "model": Path(given.model).name, **facts}
    else:
        photos = find_pictures(given.photos)
        rows = [folders(photos, given.count, None, f"{PIXELS},lpips-cifar")]
        rows += [folders(photos, 4, size, PIXELS) for size in SIDES]
        record["folders"] = {"rows": rows, **facts}
    OUT.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
