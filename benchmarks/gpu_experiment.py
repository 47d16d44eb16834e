"""The CIFAR-10 experiment on a GPU: many trainings of small networks at once, scored by the protocol.

    python benchmarks/gpu_experiment.py PACKED --pack ../shared/data/cifar10 masks/cifar10
    python benchmarks/gpu_experiment.py PACKED --out OUT --train unet-aspp-w16-s1 unet-aspp-w16-s2 unet-simple-w64-s1
    python benchmarks/gpu_experiment.py PACKED --out OUT --ablation

The first makes a folder of all that is needed, for a machine that has nothing else, in zip files of at most 30 MB. The second
trains what the names say (network, width, seed) side by side: a step of a small network leaves most of a GPU idle. Each is the
training that `mend train` makes of that recipe and seed: the same first weights, order of images, loss, choice of the epoch. A
step is recorded once as a CUDA graph and replayed. With --score NAME those that are trained are scored, as by `mend
evaluate`, to OUT/NAME. --ablation trains the rows of ABLATION for two epochs with two seeds each, and writes what they
reach on the validation images to OUT/ablation.csv.
"""

import argparse
import copy
import csv
import io
import json
import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import gpu
import numpy as np
import torch
from context_variants import Attentive, Fourier, MaskNormalised
from PIL import Image
from torch import Tensor, nn

from mend.data.cache import Entry, read_decoded
from mend.data.loaders import draw_epoch_rows
from mend.data.sources import CIFAR10_CLASSES, load_images, locate
from mend.evaluate.metrics import psnr, ssim
from mend.images import composite, mask_out
from mend.inpaint.folder import Trained
from mend.masks.store import ObjectPolicy, find_set
from mend.models import build
from mend.models.checkpoint import find_commit, save_model
from mend.models.unet import UNet
from mend.train.config import TrainConfig, read_recipe
from mend.train.losses import lpips_cifar

STRIP = 100  # images in a lossless WebP
METRICS = ("psnr", "ssim", "mae", "lpips-cifar", "fid-cifar")
WINS: dict[str, Any] = {"schedule": "cosine", "ema": 0.999, "loss": {"hole_l1": 1.0}}
LOOKS = {"hole_l1": 1.0, "lpips-cifar": 0.3}
RECIPES: dict[str, dict[str, Any]] = {  # what differs from the reference recipe, by the letters behind a network's name
    "": {},
    "l1": WINS,
    "look": {**WINS, "loss": LOOKS},
}


def group_norm(network: nn.Module) -> nn.Module:
    """The same network with group norm in place of batch norm."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(parent, name, nn.GroupNorm(8, child.num_features))
    return network


ABLATION: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "unet-aspp, recipe reference": (lambda: build("unet-aspp", width=16), {}),
    "unet-simple, recipe reference": (lambda: build("unet-simple", width=16), {}),
    "unet-aspp, cosine and moving average": (lambda: build("unet-aspp", width=16), {**WINS, "loss": {"mse": 1.0}}),
    "unet-aspp, and L1 in the hole": (lambda: build("unet-aspp", width=16), WINS),
    "unet-aspp, and the hole as a channel": (lambda: UNet(16, "aspp", hole_channel=True), WINS),
    "unet-aspp, and a smooth filling in the hole": (lambda: UNet(16, "aspp", hole_channel=True, prefilled=True), WINS),
    "unet-simple, all of these": (lambda: UNet(16, "simple", hole_channel=True, prefilled=True), WINS),
    "unet-context, all of these": (lambda: build("unet-context", width=16), WINS),
    "unet-context, without the smooth filling": (lambda: UNet(16, "context", hole_channel=True), WINS),
    "unet-context, recipe reference": (lambda: build("unet-context", width=16), {}),
    "unet-context, group norm in place of batch norm": (lambda: group_norm(build("unet-context", width=16)), WINS),
    "unet-context, all of these and 0.3 LPIPS-CIFAR in the loss": (lambda: build("unet-context", width=16), RECIPES["look"]),
    "unet-aspp, L1 in the hole, mask-normalised convolutions in the encoder": (lambda: MaskNormalised(16), WINS),
    "unet-context, and attention to known positions": (lambda: Attentive(16), WINS),
    "unet-context, and Fourier units": (lambda: Fourier(16), WINS),
}


# --- Packing ---------------------------------------------------------------------------------------------------------


def pack(folder: Path, data: str, masks: Path) -> None:
    files: list[tuple[str, bytes]] = []
    for split in ("train", "test"):
        images = load_images(data, "all" if split == "train" else "test")
        for i in range(0, len(images), STRIP):
            strip, below = io.BytesIO(), Image.fromarray(np.concatenate(images.pixels[i : i + STRIP]))
            below.save(strip, "webp", lossless=True, quality=100, method=4)
            files.append((f"{split}/{i:05}.webp", strip.getvalue()))
        files.append((f"{split}.json", json.dumps({"labels": images.labels.tolist(), "names": images.names}).encode()))
    files += [(f"masks/{file.relative_to(masks)}", file.read_bytes()) for file in sorted(masks.rglob("*")) if file.is_file()]
    gpu.pack(folder, "cifar10", files)


def unpack(folder: Path, place: Path) -> tuple[str, str]:
    """The data folder and the mask folder, as `load_images` and `find_set` take them: the pictures lie in the cache."""
    gpu.unpack(folder, "cifar10", place)
    data = place / "cifar10"
    data.mkdir(exist_ok=True)
    for split in ("train", "test"):
        marker = data / f"{split}-00000-of-00001.parquet"
        if not marker.exists():
            marker.write_bytes(b"its pictures lie in the cache")
        key, _ = locate(str(data), split, None)
        read_decoded(key, partial(read_strips, place / split), str(data), None)
    return str(data), str(place / "masks")


def read_strips(folder: Path) -> tuple[Iterable[Entry], int, tuple[str, ...]]:
    facts = json.loads(folder.with_suffix(".json").read_text())
    with ThreadPoolExecutor() as pool:
        strips = list(pool.map(lambda file: np.asarray(Image.open(file)), sorted(folder.glob("*.webp"))))
    pixels = np.concatenate(strips).reshape(-1, 32, 32, 3)
    entries = (Entry(*entry) for entry in zip(facts["names"], pixels, facts["labels"], strict=True))
    return entries, len(pixels), CIFAR10_CLASSES


# --- Training --------------------------------------------------------------------------------------------------------


class Arrays:
    """The images and holes on the device, as `mend train` has them, and what is recorded of them."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        splits = [load_images(config.data, split) for split in ("train", "val")]
        masks = find_set(config.masks, splits[0])
        self.pixels = [torch.from_numpy(np.array(images.pixels)).permute(0, 3, 1, 2).to(device) for images in splits]
        self.holes = [torch.from_numpy(masks.holes(images, ObjectPolicy())).to(device) for images in splits]
        self.facts = Trained(
            data="cifar10",
            fingerprint=splits[0].fingerprint,
            masks=masks.manifest.segmenter,
            mask_set=masks.manifest.sha256,
            images=len(splits[0]),
        )

    def take(self, rows: Tensor, split: int = 0) -> tuple[Tensor, Tensor]:
        image = (self.pixels[split][rows].float() / 255).contiguous(memory_format=torch.channels_last)
        return image, self.holes[split][rows].float()


class Training:
    """One training, and the weights of its best epoch."""

    def __init__(self, name: str, config: TrainConfig, network: nn.Module, arrays: Arrays, device: torch.device) -> None:
        self.name, self.config, self.arrays, self.device = name, config, arrays, device
        self.step = gpu.Step(network, config, device, arrays.take)
        self.judged = self.step.judged
        count = config.epochs * -(-len(arrays.pixels[0]) // config.batch_size)
        shape = torch.arange(count) / count
        factor = 0.5 * (1 + torch.cos(math.pi * shape)) if config.schedule == "cosine" else torch.ones(count)
        self.lrs = (config.lr * factor).tolist()
        self.done = 0
        self.best, self.curve = -math.inf, list[dict[str, float]]()
        self.kept: dict[str, Tensor] = {}
        self.seconds = 0.0

    def advance(self, order: Tensor, start: int) -> None:
        """One step with a batch of the order."""
        self.step(self.lrs[self.done], order[start : start + self.config.batch_size])
        self.done += 1

    @torch.no_grad()
    def validate(self, batches: int) -> dict[str, float]:
        scores = []
        self.judged.eval()
        with self.step.here(), torch.autocast(self.device.type, torch.bfloat16):
            for rows in torch.arange(len(self.arrays.pixels[1]), device=self.device).split(250):
                image, hole = self.arrays.take(rows, 1)
                filled = composite(image, self.judged.fill(mask_out(image, hole), hole).float(), hole)
                with torch.autocast(self.device.type, enabled=False):
                    scores.append([psnr(filled, image).mean(), ssim(filled, image).mean(), lpips_cifar(filled, image, hole)])
            found = torch.tensor(scores, device="cpu").mean(0).tolist()
        self.step.network.train()
        measured = dict(zip(("val_psnr", "val_ssim", "val_lpips_cifar"), found, strict=True))
        if not all(map(math.isfinite, found)):
            raise FloatingPointError(f"{self.name}: {measured}")
        if measured["val_psnr"] > self.best:
            self.best = measured["val_psnr"]
            self.kept = copy.deepcopy(self.judged.state_dict())
        loss = float(self.step.loss) / batches
        self.step.loss.zero_()
        self.curve.append({"epoch": len(self.curve) + 1, "step": self.done, "loss": loss, **measured, "seconds": self.seconds})
        return measured

    def save(self, out: Path) -> None:
        self.judged.load_state_dict(self.kept)
        best = max(self.curve, key=lambda row: row["val_psnr"])
        trained = replace(
            self.arrays.facts,
            **gpu.describe(self.device),
            config={**asdict(self.config), "data": "cifar10", "masks": "masks/cifar10"},
            epoch=int(best["epoch"]),
            seconds=sum(row["seconds"] for row in self.curve),
            validation={key: best[key] for key in ("val_psnr", "val_ssim")},
        )
        save_model(out / self.name / "model", self.judged, self.config.model, {"width": self.config.width}, asdict(trained))
        gpu.write_table(out / self.name / "metrics.csv", self.curve)


def train(trainings: list[Training], until: float) -> list[Training]:
    """All side by side, epoch by epoch; what has not ended at `until` is given up."""
    if not trainings:
        return []
    on_gpu = trainings[0].device.type == "cuda"
    began = time.perf_counter()
    if on_gpu:
        for training in trainings:
            training.step.record(torch.arange(training.config.batch_size, device=training.device))
        print(f"recorded in {time.perf_counter() - began:.1f} s", flush=True)
    epochs, size = trainings[0].config.epochs, trainings[0].config.batch_size
    for epoch in range(epochs):
        began = time.perf_counter()
        count = len(trainings[0].arrays.pixels[0])
        orders = [torch.as_tensor(draw_epoch_rows(count, t.config.seed, epoch, size)).to(t.device) for t in trainings]
        if on_gpu:
            torch.cuda.synchronize()
        for start in range(0, count, size):
            for training, order in zip(trainings, orders, strict=True):
                training.advance(order, start)
        if on_gpu:
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - began) / len(trainings)
        for training in list(trainings):
            training.seconds = seconds
            try:
                measured = training.validate(-(-count // size))
            except FloatingPointError as error:
                print(f"{error}. It is given up", flush=True)
                trainings.remove(training)
                continue
            if epoch % 5 == 4 or epoch == epochs - 1:
                print(f"{training.name}: epoch {epoch + 1}", *(f"{k} {v:.5g}" for k, v in measured.items()), flush=True)
        print(f"epoch {epoch + 1}: {seconds:.3f} s a training, {count / seconds:.0f} images a second in all", flush=True)
        if time.time() > until and epoch < epochs - 1:
            print("there is no time left for these", flush=True)
            return []
    return trainings


def parse(name: str) -> tuple[str, int, str, int]:
    """`unet-aspp-w16-s1` or `unet-context-w16-l1-s1`: network, width, letters of the recipe, seed."""
    model, rest = name.rsplit("-w", 1)
    width, *letters, seed = rest.split("-")
    return model, int(width), "".join(letters), int(seed.removeprefix("s"))


def score(folders: list[Path], asked: argparse.Namespace, data: str, masks: str) -> None:
    from mend.evaluate.protocol import read_protocol
    from mend.evaluate.run import evaluate

    began = time.perf_counter()
    protocol = read_protocol("cifar10-object-v1")
    evaluate(list(map(str, folders)), protocol, asked.out / asked.score, data, masks, METRICS)
    print(f"{len(folders)} scored in {time.perf_counter() - began:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", nargs="*", default=[], metavar="NAME", help="such as unet-aspp-w16-s1")
    parser.add_argument("--pack", nargs=2, metavar=("DATA", "MASKS"))
    parser.add_argument("--out", type=Path, default=Path("runs/gpu/out"))
    parser.add_argument("--score", metavar="NAME")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images", type=int, help="a trial: so many training images")
    parser.add_argument("--until", type=float, default=math.inf, help="seconds since 1970")
    asked = parser.parse_args()
    if asked.pack:
        pack(asked.folder, asked.pack[0], Path(asked.pack[1]))
        return
    device = gpu.prepare()
    data, masks = unpack(asked.folder, asked.out.parent / "data")
    base = TrainConfig(data, masks, **{**read_recipe("reference"), **({"epochs": asked.epochs} if asked.epochs else {})})
    if asked.score:
        score([folder for folder in (asked.out / "runs" / name for name in asked.train) if folder.is_dir()], asked, data, masks)
        return
    arrays = Arrays(base, device)
    if asked.images:
        arrays.pixels[0], arrays.holes[0] = arrays.pixels[0][: asked.images], arrays.holes[0][: asked.images]
    made = ablation(base, asked.out, arrays, device) if asked.ablation else []
    for name in asked.train:
        if not (asked.out / "runs" / name / "model" / "config.json").exists():
            model, width, letters, seed = parse(name)
            config = replace(base, **{**RECIPES[letters], "model": model, "width": width, "seed": seed})
            torch.manual_seed(seed)
            made.append(Training(name, config, build(model, width=width), arrays, device))
    # Side by side on a GPU; on a CPU one after the other, so that a stopped run loses one.
    for trainings in [made] if device.type == "cuda" else [[one] for one in made]:
        for training in train(trainings, asked.until):
            if asked.ablation:
                write_row(asked.out / "ablation.csv", training)
            else:
                training.save(asked.out / "runs")


def ablation(base: TrainConfig, out: Path, arrays: Arrays, device: torch.device) -> list[Training]:
    """The trainings of ABLATION that are not in the table yet."""
    file = out / "ablation.csv"
    there = {(row["row"], row["seed"]) for row in csv.DictReader(file.read_text().splitlines())} if file.exists() else set()
    trainings = []
    for row, (make, changes) in ABLATION.items():
        for seed in (1, 2):
            if (row, str(seed)) not in there:
                short = {"ema": 0.99} if "ema" in changes else {}
                config = replace(base, **{**changes, **short, "epochs": 2, "seed": seed, "model": "unet", "width": 16})
                torch.manual_seed(seed)
                trainings.append(Training(row, config, make(), arrays, device))
    return trainings


def write_row(file: Path, training: Training) -> None:
    row = {"row": training.name, "seed": training.config.seed, **training.curve[-1], "commit": find_commit()}
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    with file.open("a", newline="") as table:
        writer = csv.DictWriter(table, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
