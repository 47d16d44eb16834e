"""The structure network, trained on a GPU in minutes.

    python benchmarks/gpu_structure.py runs/packed --pack ../shared masks/cifar10/train
    python benchmarks/gpu_structure.py runs/packed --recipe structure --out runs/structure-gpu

The first makes a small folder of all that training needs, for a machine that has nothing else: the photographs, without those
set aside, their shorter side shrunk to SIDE pixels; some masks; the network whose features are compared, in half precision. The
second trains from it for --minutes, in bf16, on batches of 64 crops of 256×256, while the learning rate falls to zero as the
cosine of the time spent, and writes the model and a row of metrics.csv every minute. --start goes on from a model.
"""

import argparse
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from mend.chance import permutation
from mend.checkpoint import commit, load_model, save_model
from mend.data import Crops, set_aside, split_rows
from mend.device import device_name, find_device
from mend.images import composite, mask_out, picture_files
from mend.losses import over_scales, with_network
from mend.masks.crops import hole_drawer
from mend.masks.store import MaskSet
from mend.metrics.pixels import psnr, ssim
from mend.models import build
from mend.models.pyramid import Pyramid
from mend.recipes import TrainConfig, read_recipe

SIDE, QUALITY = 256, 75  # of the packed photographs, WebP
MASKS = 10_000
CROP, BATCH = 256, 64
MINUTE = 60.0  # seconds between two models
PASSES = 2000  # over the photographs, at most


def pack(folder: Path, shared: Path, masks: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation

    source = shared / "data" / "photos-free"
    files = picture_files(source)
    aside = set(set_aside(files, read_recipe("structure")["set_aside"]))
    for file in files:
        if file in aside:
            continue
        with Image.open(file) as picture:
            scale = min(1.0, SIDE / min(picture.size))
            small = picture.convert("RGB").resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS)
        place = (folder / "photos" / file.relative_to(source)).with_suffix(".webp")
        place.parent.mkdir(parents=True, exist_ok=True)
        small.save(place, quality=QUALITY, method=6)
    whole, rows = MaskSet.open(masks), np.arange(MASKS)
    some = MaskSet.create(folder / "masks", replace(whole.manifest, count=MASKS, done=0, sha256=""))
    some.write(rows, whole.read(rows))
    some.finish()
    network = shared / "models" / "deeplabv3_mobilenet_v2_513"
    AutoModelForSemanticSegmentation.from_pretrained(network).half().save_pretrained(folder / "features")
    AutoImageProcessor.from_pretrained(network).save_pretrained(folder / "features")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {len(files) - len(aside)} photographs, {MASKS} masks, a network; {size / 1e6:.1f} MB")


def configuration(folder: Path, recipe: str, **changes: Any) -> TrainConfig:
    """The recipe, for the packed folder and larger crops."""
    values = {**read_recipe(recipe), "crop": CROP, "zoom": 1.0, "ramp": 0, **changes}
    values |= {"masks": f"strokes,boxes,{folder / 'masks'}", "feature_network": str(folder / "features")}
    return TrainConfig(str(folder / "photos"), **values)


def batches(config: TrainConfig, files: list[Path], rows: np.ndarray, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    draw_hole, _ = hole_drawer(config.masks, CROP, config.seed, grow=config.grow)
    crops = Crops(files, CROP, rows, draw_hole, config.seed, epoch, config.batch_size)
    return iter(DataLoader(crops, config.batch_size, num_workers=config.workers, pin_memory=torch.cuda.is_available()))


@torch.no_grad()
def validate(network: Pyramid, held_out: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """As a run of `mend train` has it: of filled crops."""
    scores = []
    for image, hole in held_out:
        filled = composite(image, network.scales(mask_out(image, hole), hole)[0], hole)
        scores.append(torch.stack([psnr(filled, image), ssim(filled, image)]).cpu())
    return dict(zip(("val_psnr", "val_ssim"), torch.cat(scores, 1).mean(1).tolist(), strict=True))


def train(config: TrainConfig, out: Path, minutes: float, steps: int | None, start: Path | None) -> None:
    """Train for so many minutes, or steps, from fresh weights or those of a model."""
    device = find_device("auto")
    torch.manual_seed(config.seed)
    network = build(config.model, width=config.width) if start is None else load_model(start)[0]
    assert isinstance(network, Pyramid)
    network = network.train().requires_grad_(True).to(device, memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema)).requires_grad_(False)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, fused=True)
    terms = with_network(config.feature_network)
    files = picture_files(Path(config.data))
    rows = {split: split_rows(len(files), split) for split in ("train", "val")}
    held_out = [(image.to(device), hole.to(device)) for image, hole in batches(config, files, rows["val"][:BATCH], 0)]
    # More passes than there is time for, and in one: the workers keep what they have read.
    passes = [rows["train"][permutation(len(rows["train"]), config.seed, i)] + i * len(files) for i in range(PASSES)]
    _, described = hole_drawer(config.masks, CROP, config.seed, grow=config.grow)
    facts: dict[str, Any] = {"commit": commit(), "torch": torch.__version__, "device": device_name(device)}
    facts |= {"images": len(rows["train"]), "masks": described}
    table: list[dict[str, Any]] = []
    losses: list[Tensor] = []
    began = said = time.perf_counter()
    for step, batch in enumerate(batches(config, files, np.concatenate(passes), 1), 1):
        spent = step / steps if steps else (time.perf_counter() - began) / (60 * minutes)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))
        image, hole = (part.to(device, non_blocking=True, memory_format=torch.channels_last) for part in batch)
        with torch.autocast(device.type, torch.bfloat16):
            raws = network.scales(mask_out(image, hole), hole)
            loss, _ = over_scales(config.loss, raws, image, hole, terms)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        losses.append(loss.detach())
        now = time.perf_counter()
        if spent >= 1 or now - said > MINUTE:
            said = now
            scores = validate(average.module, held_out)
            table.append({"step": step, "seconds": now - began, "loss": torch.stack(losses).mean().item(), **scores})
            losses.clear()
            print(*(f"{key} {value:.6g}" for key, value in table[-1].items()), flush=True)
            shown = {"epochs": 1, "crops": round(step * len(image) / facts["images"])}
            trained = {**facts, "seconds": now - began, "validation": scores, "config": vars(config) | shown}
            save_model(out / "model", average.module, config.model, {"width": config.width}, trained)
            with (out / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(table[0]))
                writer.writeheader()
                writer.writerows(table)
        if spent >= 1:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack", type=Path, nargs=2, metavar=("SHARED", "MASKS"))
    parser.add_argument("--recipe", default="structure")
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--steps", type=int, help="in place of minutes")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/structure-gpu"))
    asked = parser.parse_args()
    if asked.pack:
        pack(asked.folder, *asked.pack)
    else:
        config = configuration(asked.folder, asked.recipe, batch_size=asked.batch, workers=asked.workers)
        train(config, asked.out, asked.minutes, asked.steps, asked.start)


if __name__ == "__main__":
    main()
