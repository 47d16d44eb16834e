"""The structure network, trained on a GPU in minutes.

    python benchmarks/gpu_structure.py PACKED --pack ../shared masks/cifar10/train
    python benchmarks/gpu_structure.py PACKED --minutes 4 --out runs/structure-gpu

The first makes a folder of all that training needs, for a machine that has nothing else: the photographs, without those set
aside, and the holes, drawn. The second trains for --minutes, in bf16, on batches of 64 crops of 256×256, and writes the model
and a row of metrics.csv every half minute. Photographs and holes lie on the GPU, and a step is recorded once as a CUDA graph
and replayed.
The learning rate is constant for the first --hold of the time, at whose end the model is kept in `trunk` too, and then falls to
zero as a cosine. --start goes on from a model.
"""

import argparse
import io
import math
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import gpu
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mend.data.sources import set_aside, split_rows
from mend.evaluate.metrics import psnr, ssim
from mend.images import composite, find_pictures, mask_out, read_rgb
from mend.masks.crops import make_hole_drawer
from mend.models import build
from mend.models.checkpoint import load_model, save_model
from mend.models.network import Network
from mend.train.config import TrainConfig, read_recipe

SIDE, QUALITY = 400, 80  # pixels of the shorter side, at most; of the WebP
LEVELS = (1.0, 0.75, 0.5625)  # every photograph is there at these sizes too, where its shorter side keeps CROP pixels
CROP, BATCH = 256, 64
HOLES = 12_288  # drawn here, turned and mirrored at every use
SAVE = 30.0  # seconds between two models


# --- Packing ---------------------------------------------------------------------------------------------------------


def pack(folder: Path, shared: Path, masks: Path) -> None:
    recipe = read_recipe("structure")
    source = shared / "data" / "photos-free"
    files = find_pictures(source)
    aside = set(set_aside(files, recipe["set_aside"]))
    kept = [file for file in files if file not in aside]
    names = [str(file.relative_to(source).with_suffix(".webp")) for file in kept]
    folder.mkdir(parents=True, exist_ok=True)
    kinds = f"strokes,boxes,marks,{masks}"
    holes = draw_holes(kinds, recipe["grow"], HOLES, workers=2)
    _, described = make_hole_drawer(kinds, CROP, 0, grow=recipe["grow"])
    np.savez_compressed(folder / "holes.npz", holes=np.packbits(holes, -1), described=described)
    with ThreadPoolExecutor(2) as pool:
        gpu.pack(folder, "photos", zip(names, pool.map(shrink, kept), strict=True))


def shrink(file: Path) -> bytes:
    """The photograph as a WebP of at most SIDE pixels on its shorter side."""
    picture = Image.fromarray(read_rgb(file))
    scale = min(1.0, SIDE / min(picture.size))
    shrunk = io.BytesIO()
    picture.resize([round(side * scale) for side in picture.size], Image.Resampling.LANCZOS).save(
        shrunk, "webp", quality=QUALITY, method=5
    )
    return shrunk.getvalue()


def draw_holes(kinds: str, grow: float, count: int, workers: int) -> np.ndarray:
    shares = [range(i, min(i + 128, count)) for i in range(0, count, 128)]
    with ProcessPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(partial(draw_some_holes, kinds, grow), shares)))


def draw_some_holes(kinds: str, grow: float, rows: range) -> np.ndarray:
    draw, _ = make_hole_drawer(kinds, CROP, 0, grow=grow)
    return np.concatenate([draw(1, i).astype(bool) for i in rows])


def unpack(folder: Path, place: Path) -> tuple[Path, Tensor, str]:
    """The folder of photographs; the holes (N, CROP, CROP), uint8; and what they are."""
    gpu.unpack(folder, "photos", place)
    with np.load(folder / "holes.npz") as packed:
        return place, torch.from_numpy(np.unpackbits(packed["holes"], -1)), str(packed["described"])


# --- Photographs and holes on the device -----------------------------------------------------------------------------


def at_levels(file: Path) -> list[np.ndarray]:
    pixels = Image.fromarray(read_rgb(file))
    grown = max(1.0, CROP / min(pixels.size))
    found = []
    for level in LEVELS:
        scale = level * grown
        if level == 1 or min(pixels.size) * scale >= CROP:
            size = [max(CROP, round(side * scale)) for side in pixels.size]
            found.append(np.asarray(pixels if size == [*pixels.size] else pixels.resize(size, Image.Resampling.LANCZOS)))
    return found


class Photographs:
    """All of them on the device, at all levels, in one array of bytes."""

    def __init__(self, files: list[Path], device: torch.device) -> None:
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(at_levels, files))
        every = [pixels for levels in found for pixels in levels]
        ends = np.cumsum([pixels.size for pixels in every])
        counts = np.array([len(levels) for levels in found])
        self.bytes = torch.from_numpy(np.concatenate([pixels.reshape(-1) for pixels in every])).to(device)
        self.start = torch.tensor(ends - [pixels.size for pixels in every], device=device)
        self.height = torch.tensor([pixels.shape[0] for pixels in every], device=device)
        self.width = torch.tensor([pixels.shape[1] for pixels in every], device=device)
        self.first, self.count = (torch.tensor(part, device=device) for part in (np.cumsum(counts) - counts, counts))

    def crops(self, rows: Tensor, drawn: Tensor) -> Tensor:
        """A crop (B, 3, CROP, CROP) of each of these photographs by `drawn` (B, 4), numbers in [0, 1)."""
        level = self.first[rows] + (drawn[:, 0] * self.count[rows]).long()
        width = self.width[level]
        top = (drawn[:, 1] * (self.height[level] - CROP + 1)).long()
        left = (drawn[:, 2] * (width - CROP + 1)).long()
        pixel = torch.arange(CROP, device=rows.device)
        across = torch.where(drawn[:, 3, None] < 0.5, pixel, CROP - 1 - pixel)  # (B, CROP)
        corner = self.start[level] + 3 * (top * width + left)
        row = corner[:, None] + 3 * width[:, None] * pixel  # (B, CROP)
        index = row[:, :, None, None] + 3 * across[:, None, :, None] + torch.arange(3, device=rows.device)
        return (self.bytes[index].float() / 255).permute(0, 3, 1, 2)  # channels last


def turned(holes: Tensor, drawn: Tensor) -> Tensor:
    """Holes (B, CROP, CROP) as (B, 1, CROP, CROP) floats, mirrored and transposed by `drawn` (B, 3)."""
    for i, change in enumerate((lambda h: h.flip(1), lambda h: h.flip(2), lambda h: h.transpose(1, 2))):
        holes = torch.where((drawn[:, i] < 0.5)[:, None, None], change(holes), holes)
    return holes[:, None].float()


# --- Training --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def validate(network: Network, held_out: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    scores = []
    for image, hole in held_out:
        filled = composite(image, network.scales(mask_out(image, hole), hole)[0], hole)
        scores.append(torch.stack([psnr(filled, image), psnr(filled, image, hole), ssim(filled, image, hole)]).cpu())
    return dict(zip(("val_psnr", "val_hole_psnr", "val_hole_ssim"), torch.cat(scores, 1).mean(1).tolist(), strict=True))


def train(
    config: TrainConfig, holes: Tensor, out: Path, until: float, hold: float, steps: int | None, start: Path | None
) -> None:
    """Train until so many seconds since 1970, or for so many steps, from fresh weights or those of a model."""
    began = time.time()
    device = gpu.prepare()
    on_gpu = device.type == "cuda"
    torch.manual_seed(config.seed)
    network = build(config.model, width=config.width) if start is None else load_model(start)[0]
    step = gpu.Step(network, config, device, lambda image, hole: (image, hole))

    files = find_pictures(Path(config.data))
    rows = {split: torch.tensor(split_rows(len(files), split), device=device) for split in ("train", "val")}
    photographs = Photographs(files, device)
    holes = holes.to(device)
    print(f"{len(files)} photographs, {len(holes)} holes after {time.time() - began:.1f} s", flush=True)
    drawn = torch.Generator(device).manual_seed(config.seed)

    def draw(of: Tensor) -> tuple[Tensor, Tensor]:
        count = config.batch_size
        at, numbers = torch.rand(count, 2, generator=drawn, device=device), torch.rand(count, 7, generator=drawn, device=device)
        chosen = holes[(at[:, 1] * len(holes)).long()]
        return photographs.crops(of[(at[:, 0] * len(of)).long()], numbers[:, :4]), turned(chosen, numbers[:, 4:])

    held_out = [draw(rows["val"]) for _ in range(4 if on_gpu else 1)]
    step.record(*draw(rows["train"]))
    print(f"the first step after {time.time() - began:.1f} s", flush=True)

    count = len(rows["train"])
    facts = {**gpu.describe(device), "images": count, "masks": config.masks, "start": str(start or ""), "hold": hold}
    table: list[dict[str, Any]] = []
    first = said = time.time()
    done, since, kept = 0, 0, False

    def save(folder: Path) -> None:
        crops = round(done * config.batch_size / count)
        shown = {**vars(config), "crops": crops, "data": "photos-free", "masks": config.masks, "epochs": 1}
        trained = {**facts, "steps": done, "seconds": time.time() - first, "validation": table[-1], "config": shown}
        save_model(folder, step.judged, config.model, {"width": config.width}, trained)

    with step.here():
        while True:
            spent = done / steps if steps else (time.time() - first) / max(1.0, until - first)
            falling = max(0.0, (spent - hold) / (1 - hold))
            lr = config.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, falling))) * min(1.0, (done + 1) / 200)
            ended = spent >= 1
            if not ended:
                step(lr, *draw(rows["train"]))
                done += 1
                if on_gpu and done % 20 == 0:
                    torch.cuda.synchronize()  # else the queue runs ahead of the clock
            at_trunk = spent >= hold > 0 and not kept
            if ended or at_trunk or time.time() - said > SAVE:
                said = time.time()
                scores = validate(step.judged, held_out)
                loss = float(step.loss) / max(1, done - since)
                table.append({"step": done, "seconds": said - first, "loss": loss, "lr": lr, **scores})
                step.loss.zero_()
                since = done
                print(*(f"{key} {value:.6g}" for key, value in table[-1].items()), flush=True)
                save(out / "model")
                if at_trunk:
                    save(out / "trunk")
                    kept = True
                gpu.write_table(out / "metrics.csv", table)
            if ended:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pack", type=Path, nargs=2, metavar=("SHARED", "MASKS"))
    parser.add_argument("--recipe", default="structure")
    parser.add_argument("--loss", nargs="*", default=[], metavar="NAME=WEIGHT", help="in place of the recipe's")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--until", type=float, help="seconds since 1970, in place of minutes")
    parser.add_argument("--hold", type=float, default=0.0)
    parser.add_argument("--steps", type=int, help="in place of minutes")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/structure-gpu"))
    asked = parser.parse_args()
    if asked.pack:
        pack(asked.folder, *asked.pack)
        return
    photos, holes, described = unpack(asked.folder, asked.out.parent / "photos")
    values = {**read_recipe(asked.recipe), "crop": CROP, "zoom": 1.0, "ramp": 0, "batch_size": asked.batch, "start": None}
    values |= {"masks": described}
    values |= {"lr": asked.lr} if asked.lr else {}
    values |= (
        {"loss": {name: float(weight) for name, _, weight in (one.partition("=") for one in asked.loss)}} if asked.loss else {}
    )
    until = asked.until or time.time() + 60 * asked.minutes
    train(TrainConfig(str(photos), **values), holes, asked.out, until, asked.hold, asked.steps, asked.start)


if __name__ == "__main__":
    main()
