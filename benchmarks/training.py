"""How fast training is, beside the seed as a notebook would write it and beside the machine's own rate of matrix products.

    python benchmarks/training.py ../shared/data/cifar10

The reference reads every picture and mask as a PNG through Pillow and transforms in a `DataLoader`, and trains in fp32, NCHW,
not compiled. Ours is `mend train --compile`, from its first line to its last, and the time of its second epoch, which has its
validation in it. Both train the same network with the same loss on the same pictures, batch 128, one after the other.
FLOPs are those of the forward and backward pass as PyTorch counts them. Writes the part "training" of results/performance.json.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.functional import to_tensor

from mend.checkpoint import commit
from mend.data import Batches, load_images
from mend.device import device_name, find_device
from mend.images import mask_out, write_image
from mend.masks import make_masks
from mend.masks.store import ObjectPolicy
from mend.models import build
from mend.recipes import TrainConfig
from mend.train import train

BATCH = 128
CASES = {("unet-simple", 64): 6, ("unet-aspp", 64): 6, ("unet-simple", 16): 60, ("unet-aspp", 16): 60}  # batches an epoch
OUT = Path(__file__).parent.parent / "results" / "performance.json"
device = find_device("auto")


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """A picture and its mask, read and transformed one by one."""

    def __init__(self, folder: Path) -> None:
        self.pictures, self.masks = (sorted((folder / name).glob("*.png")) for name in ("train", "masks"))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        mask = (to_tensor(Image.open(self.masks[i]).convert("L")) > 0.5).float()
        return to_tensor(Image.open(self.pictures[i]).convert("RGB")), mask


def notebook(folder: Path, model: str, width: int) -> float:
    """Training pictures a second of the reference, over an epoch; its first batches apart, in which workers start."""
    network = build(model, width=width).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    seen, start = 0, 0.0
    for i, (image, hole) in enumerate(DataLoader(Pictures(folder), BATCH, shuffle=True, num_workers=2, drop_last=True)):
        if i == 2:
            seen, start = 0, time.perf_counter()
        image, hole = image.to(device), hole.to(device)
        loss = nn.functional.mse_loss(network(mask_out(image, hole), hole), image)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        seen += len(image)
    return seen / (time.perf_counter() - start)


def ours(folder: Path, model: str, width: int, pictures: int) -> dict[str, float]:
    start = time.perf_counter()
    config = TrainConfig(str(folder), str(folder / "sets"), model, width, epochs=2, batch_size=BATCH, compile=True)
    run = train(config, folder / f"{model}-{width}")
    seconds = pd.read_csv(run / "metrics.csv")["seconds"]
    return {"images_per_second": pictures / seconds[1], "first_epoch": seconds[0], "whole": time.perf_counter() - start}


def flops(model: str, width: int) -> float:
    """Of the forward and backward pass of one picture."""
    network = build(model, width=width)
    image, hole = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    with FlopCounterMode(display=False) as counter:
        network(image, hole).mean().backward()
    return float(counter.get_total_flops())


def rate(work: Callable[[], Any], amount: float, repeats: int = 20) -> float:
    """`amount` a second: the median of the repeats."""
    times: list[float] = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return amount / float(np.median(times[3:]))


def prepared(data: str, folder: Path, batches: int) -> int:
    """The first pictures of the training set as files, with masks for both sides; how many of them train."""
    count = batches * BATCH * 10 // 9 + 10  # a tenth is held out for validation
    images = load_images(data, "all", limit=count)
    for i, pixels in enumerate(images.pixels):
        write_image(folder / "train" / f"{i:05d}.png", np.array(pixels))
    write_image(folder / "test" / "0.png", np.array(images.pixels[0]))
    for split, part in (("train", "all"), ("test", "test")):
        masks = make_masks(load_images(str(folder), part), "boxes", folder / "sets" / split)
        if split == "train":
            for i, mask in enumerate(masks.read(np.arange(count))):
                write_image(folder / "masks" / f"{i:05d}.png", mask[..., None] * np.uint8(255))
    return len(load_images(str(folder), "train"))


def loading(folder: Path) -> float:
    """Pictures a second that batches come in, without training."""
    images = load_images(str(folder), "train")
    pixels = torch.from_numpy(np.array(images.pixels)).permute(0, 3, 1, 2)
    holes = make_masks(load_images(str(folder), "all"), "boxes", folder / "sets" / "train").holes(images, ObjectPolicy())
    batches = Batches(pixels, holes, np.random.default_rng(0).permutation(len(pixels)), BATCH)
    return rate(lambda: [None for _ in batches], len(pixels), 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    data = parser.parse_args().data
    left, right = (torch.rand(4096, 4096, device=device, dtype=torch.bfloat16) for _ in range(2))
    machine = rate(lambda: left @ right, 2 * 4096**3)
    measured: dict[str, Any] = {}
    for (model, width), batches in CASES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pictures = prepared(data, folder, batches)
            reference, found, feed = notebook(folder, model, width), ours(folder, model, width, pictures), loading(folder)
        work = flops(model, width)
        measured[f"{model}, width {width}"] = {
            "n": pictures,
            "reference_images_per_second": round(reference, 1),
            "images_per_second": round(found["images_per_second"], 1),
            "times": round(found["images_per_second"] / reference, 2),
            "gflop_per_image": round(work / 1e9, 3),
            "of_the_matrix_rate": round(found["images_per_second"] * work / machine, 3),
            "first_epoch_seconds": round(found["first_epoch"], 1),
            "loading_images_per_second": round(feed),
            "loading_times": round(feed / found["images_per_second"], 1),
        }
        print(model, width, measured[f"{model}, width {width}"], flush=True)
    record = json.loads(OUT.read_text()) if OUT.exists() else {}
    facts = {"commit": commit(), "device": device_name(device), "torch": torch.__version__, "bf16_tflops": machine / 1e12}
    OUT.write_text(json.dumps({**record, "training": {**facts, "cases": measured}}, indent=1) + "\n")


if __name__ == "__main__":
    main()
