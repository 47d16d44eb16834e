"""How fast training is, beside the reference experiment as a notebook would write it, and beside the machine's own rate of
matrix products.

    python benchmarks/training.py ../shared/data/cifar10 masks/cifar10

The reference reads every picture and mask as a PNG through Pillow and transforms in a `DataLoader`, and trains in fp32, NCHW,
not compiled, each refinement worked out everywhere. Ours is `mend train`, with `--compile` on a GPU. Both train the same
network with the same loss on the same pictures, batch 128, in turn, each in a process of its own; the medians of the rounds
count. The time is that of whole steps, data included and validation not, without the first ones, and a GPU's queue is empty
when it is taken. FLOPs are those that are done, forward and backward, as PyTorch counts them.
Writes the part "training" of results/performance.json. Nothing else should run.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from performance import record
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms.functional import to_tensor

from mend.data.loaders import Batches
from mend.data.sources import load_images
from mend.images import mask_out, write_image
from mend.masks.store import MaskSet, ObjectPolicy, find_set, make_manifest
from mend.models import build
from mend.models.device import find_device
from mend.models.refine import Refinement
from mend.models.unet import DecoderBlock, shrink_hole
from mend.train.config import TrainConfig
from mend.train.run import train

BATCH = 128
device = find_device("auto")
ON_GPU = device.type == "cuda"
# Batches an epoch; on a GPU one takes milliseconds.
CASES = {
    (model, width): 300 if ON_GPU else steps for width, steps in ((64, 8), (16, 30)) for model in ("unet-simple", "unet-aspp")
}


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    """A picture and its mask, read and transformed one by one."""

    def __init__(self, folder: Path) -> None:
        self.pictures, self.masks = (sorted((folder / name).glob("*.png")) for name in ("train", "masks"))

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        mask = (to_tensor(Image.open(self.masks[i]).convert("L")) > 0.5).float()
        return to_tensor(Image.open(self.pictures[i]).convert("RGB")), mask


ROUNDS = 3
WARMING = 2  # steps that are not counted: workers start, memory is taken


def notebook(folder: Path, model: str, width: int) -> float:
    """Training pictures a second of the reference, over two epochs."""
    network = dense(build(model, width=width)).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    ends: list[float] = []
    for _ in range(2):
        ends.clear()  # the first epoch warms the files
        for image, hole in DataLoader(Pictures(folder), BATCH, shuffle=True, num_workers=2, drop_last=True):
            image, hole = image.to(device), hole.to(device)
            loss = nn.functional.mse_loss(network(mask_out(image, hole), hole), image)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            ends.append(time.perf_counter())
    return BATCH * (len(ends) - 1 - WARMING) / (ends[-1] - ends[WARMING])


def dense(network: nn.Module) -> nn.Module:
    """The network with each refinement worked out everywhere, as its definition has it."""
    for part in network.modules():
        if isinstance(part, Refinement):
            part.forward = partial(everywhere, part)  # type: ignore[method-assign]
        if isinstance(part, DecoderBlock):
            part.forward = partial(plainly, part)  # type: ignore[method-assign]
    return network


def plainly(block: DecoderBlock, features: Tensor, skip: Tensor, hole: Tensor) -> Tensor:
    features = torch.cat([block.upsample(features), skip], dim=1)
    return block.conv(block.refine(features, shrink_hole(features, hole)))


def everywhere(refine: Refinement, features: Tensor, hole: Tensor) -> Tensor:
    return torch.where(hole > 0, refine.net(features * (1 - hole), hole), features)


def ours(folder: Path, model: str, width: int) -> float:
    """Training pictures a second of `mend train`, over its second epoch."""
    config = TrainConfig(str(folder), str(folder / "sets"), model, width, epochs=2, batch_size=BATCH, compile=ON_GPU)
    ends: dict[int, float] = {}

    def on_step(done: int, of: int) -> None:
        if done in (of // 2 + 1 + WARMING, of - 1):  # the last batch of an epoch is smaller
            waited()
            ends[done] = time.perf_counter()

    with tempfile.TemporaryDirectory() as run:
        train(config, run, on_step)
    (first, begun), (last, ended) = ends.items()
    return BATCH * (last - first) / (ended - begun)


def waited() -> None:
    """Until the device has done all that it was told to do."""
    if ON_GPU:
        torch.cuda.synchronize()


def flops(network: nn.Module, image: Tensor, hole: Tensor) -> float:
    """Of the forward and backward pass of one picture."""
    with FlopCounterMode(display=False) as counter:
        network(mask_out(image, hole), hole).mean().backward()
    return float(counter.get_total_flops()) / len(image)


def rate(work: Callable[[], Any], amount: float, repeats: int = 20) -> float:
    """`amount` a second: the median of the repeats."""
    times: list[float] = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        waited()
        times.append(time.perf_counter() - start)
    return amount / float(np.median(times[3:]))


def matrix_rate() -> float:
    """FLOPs a second of a large product of matrices in bfloat16."""
    side = 8192 if ON_GPU else 4096
    left, right = (torch.rand(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return rate(lambda: left @ right, 2 * side**3)


def prepared(data: str, masks: str, folder: Path, batches: int) -> int:
    """The first pictures of the training set as files, with their object masks for both sides; how many of them train."""
    count = batches * BATCH * 10 // 9 + 10  # a tenth is held out for validation
    everything = load_images(data, "all")
    holes = find_set(masks, everything).holes(everything, ObjectPolicy())[:count, 0]
    for i in range(count):
        write_image(folder / "train" / f"{i:05d}.png", np.array(everything.pixels[i]))
        write_image(folder / "masks" / f"{i:05d}.png", holes[i][..., None] * np.uint8(255))
    write_image(folder / "test" / "0.png", np.array(everything.pixels[0]))
    images = load_images(str(folder), "all")
    made = MaskSet.create(folder / "sets" / "train", make_manifest(images, "borrowed", ""))
    made.write(np.arange(count), holes > 0)
    made.finish()
    return len(load_images(str(folder), "train"))


def batches(data: str, masks: str) -> Batches:
    """As `mend train` has them, on the device."""
    images = load_images(data, "train")
    pixels = torch.from_numpy(np.array(images.pixels)).permute(0, 3, 1, 2).to(device)
    holes = torch.from_numpy(find_set(masks, images).holes(images, ObjectPolicy())).to(device)
    return Batches(pixels, holes, np.random.default_rng(0).permutation(len(pixels)), BATCH)


def alone(side: str, folder: Path, model: str, width: int) -> float:
    """What `SIDES[side]` measures, in a process of its own: ours changes how a process gets its memory."""
    words = [sys.executable, __file__, str(folder), "", "--side", side, "--model", model, "--width", str(width)]
    done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE)
    return float(done.stdout.splitlines()[-1])


SIDES = {"reference": notebook, "mend": ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("masks")
    parser.add_argument("--side", choices=SIDES, help="only this, once, on what was prepared in the folder `data`")
    parser.add_argument("--model")
    parser.add_argument("--width", type=int)
    given = parser.parse_args()
    if given.side:
        print(SIDES[given.side](Path(given.data), given.model, given.width))
        return
    measured: dict[str, Any] = {}
    for (model, width), steps in CASES.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            pictures = prepared(given.data, given.masks, folder, steps)
            rounds = [[alone(side, folder, model, width) for side in SIDES] for _ in range(ROUNDS)]
            source = batches(str(folder), str(folder / "sets"))
            feed, batch = rate(lambda source=source: [None for _ in source], pictures, 5), next(iter(source))
        reference, found = np.median(rounds, 0).tolist()
        machine, work = matrix_rate(), flops(build(model, width=width).to(device), *batch)
        measured[f"{model}, width {width}"] = {
            "n": pictures,
            "reference": round(reference, 1),
            "mend": round(found, 1),
            "rounds": np.round(rounds, 1).tolist(),
            "times": round(found / reference, 2),
            "gflop_per_picture": round(work / 1e9, 3),
            "dense_gflop_per_picture": round(flops(dense(build(model, width=width).to(device)), *batch) / 1e9, 3),
            "bf16_tflops": round(machine / 1e12, 3),
            "of_the_matrix_rate": round(found * work / machine, 3),
            "loading": round(feed),
            "loading_times": round(feed / found, 1),
        }
        print(model, width, measured[f"{model}, width {width}"], flush=True)
    record("training", {"cases": measured})


if __name__ == "__main__":
    main()
