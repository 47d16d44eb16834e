"""How time and memory grow: with the number of images, and with the size of a photograph.

    python benchmarks/growth.py [images] [photographs]

Each stage at each size is a process of its own, in a cache of its own. Images are 32×32, synthetic, in Parquet files as
CIFAR-10 is. `first start` decodes them, `masks` draws one for each and writes the set, `start` is a training up to its first
step, `evaluate` fills by mean colour and scores PSNR. A photograph has a fifth missing, and is filled by `mend fill` with
texture, which is the default, and without. Memory is the peak that the process has for itself (RssAnon), files that are mapped
left out. Linux only. Writes the parts "growth" and "filling" of results/performance.json. Nothing else should run.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

COUNTS = (1_000, 10_000, 60_000, 1_000_000)
MEGAPIXELS = (0.1, 0.4, 1.5, 6, 12, 24)
DISTINCT = 1_000  # pictures, repeated with another corner each


def synthetic(folder: Path, count: int) -> None:
    """`count` images as train and as test shards of Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from filling import photograph

    tile = photograph(1024, 1024)
    cuts = [tile[y : y + 32, x : x + 32].copy() for y in range(0, 1024, 32) for x in range(0, 1024, 32)][:DISTINCT]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    shard = 100_000
    for start in range(0, count, shard):
        rows = []
        for i in range(start, min(count, start + shard)):
            picture = cuts[i % DISTINCT]
            picture[0, 0] = (i >> 16, (i >> 8) & 255, i & 255)
            data = io.BytesIO()
            Image.fromarray(picture).save(data, "PNG", compress_level=1)
            rows.append({"bytes": data.getvalue(), "path": f"{i:07d}.png"})
        table = pa.table({"img": pa.array(rows, kind), "label": pa.array([i % 10 for i in range(len(rows))])})
        number = f"{start // shard:05d}.parquet"
        pq.write_table(table, folder / f"train-{number}")
        os.link(folder / f"train-{number}", folder / f"test-{number}")


# --- Stages: each runs alone in a process, which imports PyTorch only where mend does --------------------------------


def first_start(folder: Path) -> None:
    from mend.data.sources import load_images

    load_images(str(folder), "all")


def masks(folder: Path, part: str = "all", name: str = "train") -> None:
    from mend.data.sources import load_images
    from mend.segment.make import make_masks

    make_masks(load_images(str(folder), part), "boxes", folder / "masks" / name)


def of_test(folder: Path) -> None:
    masks(folder, "test", "test")


class Begun(Exception):
    """The first step of a training is done."""


def start(folder: Path) -> None:
    from mend.train.config import TrainConfig
    from mend.train.run import train

    def stop(done: int, of: int) -> None:
        raise Begun

    with suppress(Begun):
        train(TrainConfig(str(folder), str(folder / "masks"), "unet", 4), folder / "run", stop)


def evaluate(folder: Path) -> None:
    from mend.evaluate.protocol import Protocol
    from mend.evaluate.run import evaluate as run

    run(["mean-colour"], Protocol("growth", "Growth", str(folder), ("psnr",), str(folder / "masks")), folder / "result")


def fill(folder: Path, *words: str) -> None:
    import mend.cli

    photo, mask, out = (str(folder / f"{name}.png") for name in "pmo")
    mend.cli.main(["fill", photo, "--mask", mask, "-o", out, "--device", "cpu", *words])


def fill_smoothly(folder: Path) -> None:
    fill(folder, "--smooth")


STAGES: dict[str, Callable[[Path], None]] = {
    "first start": first_start,
    "masks": masks,
    "both for the test images": of_test,  # which an evaluation finds made; not recorded
    "start": start,
    "evaluate": evaluate,
    "mend fill": fill,
    "mend fill --smooth": fill_smoothly,
}
FILLING = ("mend fill", "mend fill --smooth")


def alone(stage: str, folder: Path) -> None:
    """Run a stage and print its time, and the most memory it had for itself."""
    most, ended = 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(0.01):
            status = Path("/proc/self/status").read_text()
            most = max(most, next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")))

    watcher = threading.Thread(target=look)
    watcher.start()
    begun = time.perf_counter()
    try:
        STAGES[stage](folder)
    finally:
        taken = time.perf_counter() - begun
        ended.set()
        watcher.join()
        print(json.dumps({"seconds": taken, "memory": most * 1024}))


def measure(stage: str, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "MEND_CACHE": str(folder / "cache")}
    command = [sys.executable, __file__, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def exponent(points: list[dict[str, float]]) -> float:
    """The power with which time grows between the two largest sizes, where what is constant counts least."""
    (one, other) = points[-2:]
    return float(np.log(other["seconds"] / one["seconds"]) / np.log(other["n"] / one["n"]))


def measure_images() -> None:
    from performance import record

    stages = [stage for stage in STAGES if stage not in FILLING]
    points: dict[str, list[dict[str, float]]] = {stage: [] for stage in stages}
    for count in COUNTS:
        with TemporaryDirectory() as name:
            synthetic(Path(name), count)
            for stage in stages:
                points[stage].append({"n": count, **measure(stage, Path(name))})
                print(stage, points[stage][-1], flush=True)
    record("growth", {"cases": describe({stage: points[stage] for stage in stages if STAGES[stage] is not of_test}, "images")})


def measure_photographs() -> None:
    from filling import box, photograph
    from performance import record

    from mend.images import write_image

    points: dict[str, list[dict[str, float]]] = {stage: [] for stage in FILLING}
    for megapixels in MEGAPIXELS:
        with TemporaryDirectory() as name:
            height, width = round((megapixels * 1e6 * 3 / 4) ** 0.5), round((megapixels * 1e6 * 4 / 3) ** 0.5)
            write_image(Path(name) / "p.png", photograph(height, width))
            write_image(Path(name) / "m.png", box(height, width, 0.2))
            for stage in FILLING:
                points[stage].append({"n": height * width / 1e6, **measure(stage, Path(name))})
                print(stage, points[stage][-1], flush=True)
    record("filling", {"cases": describe(points, "megapixels")})


def describe(points: dict[str, list[dict[str, float]]], of: str) -> dict[str, Any]:
    return {stage: {"of": of, "points": found, "exponent": exponent(found)} for stage, found in points.items()}


PARTS = {"images": measure_images, "photographs": measure_photographs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="images|photographs", default=list(PARTS))
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.stage:
        alone(given.stage, given.folder)
        return
    for part in given.parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
