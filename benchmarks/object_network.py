"""The network that selects objects in the studio: its examples, its training, its graph.

    python benchmarks/object_network.py find ../shared/data/photos-free ../shared/models/deeplabv3_mobilenet_v2_513 OBJECTS
    python benchmarks/object_network.py train ../shared/data/photos-free OBJECTS runs/select
    python benchmarks/object_network.py export OBJECTS runs/select

`find` lets a DeepLabV3 look for objects in photographs, without the 100 that are set aside, and finds their borders by GrabCut:
a mask a file, and OBJECTS/objects.csv. `train` makes examples of them: windows of 128×128 pixels with a box, a line or a click.
In 20 of 100 examples an object is pasted into another photograph, in 25 a drawn shape with the surface of another: there the
truth is exact, and the network learns objects of any kind. Half of the examples then get one or two clicks where the network
is wrong so far. The same command goes on with a stopped training. `export`
writes the averaged weights to mend/assets/select/model.onnx, in half precision, with a card, and to results/select what it was
trained on, and how that went.
"""

import argparse
import csv
import hashlib
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from mend.data.sources import set_aside
from mend.images import find_pictures, write_bytes
from mend.models.checkpoint import find_commit
from mend.models.export import drop_traces
from mend.segment.select import CONTEXT, MOST_CONTEXT, NETWORK, WINDOW, click, encode, warp_image

ASIDE = 100  # photographs for the protocol photos-free-test
SIDE = 513  # pixels of the longer side: what the DeepLabV3 sees, and examples are cut from
SURE, AGREE = 0.8, 0.75  # mean probability within an object; overlap of what the network and GrabCut find
STEPS, BATCH, RATE, HELD = 7000, 32, 1.5e-3, 12  # of each so many photographs one is for validation
RESULTS = Path(__file__).parent.parent / "results"
WIDTHS = (24, 48, 96, 144)
BOX, LASSO = 0.6, 0.12  # of the examples; the others have a click


# --- Objects ---------------------------------------------------------------------------------------------------------


def find(photos: Path, network: Path, out: Path) -> None:
    from transformers import AutoModelForSemanticSegmentation

    model = AutoModelForSemanticSegmentation.from_pretrained(network).eval().to(memory_format=torch.channels_last)
    files = sorted(find_pictures(photos), key=lambda file: hashlib.sha256(file.read_bytes()).digest())
    aside = set(set_aside(files, ASIDE))
    rows: list[dict[str, Any]] = []
    for file in files:
        if file in aside:
            continue
        image = np.asarray(Image.open(file).convert("RGB"))
        scale = SIDE / max(image.shape)
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        for kind, sure, agree, mask in find_objects(small, model):
            name = f"{len(rows):05}.png"
            write_bytes(out / name, cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes())
            photo = str(file.relative_to(photos))
            rows.append({"photo": photo, "mask": name, "class": kind, "sure": sure, "agree": agree})
        print(f"{file.name}: {len(rows)} objects", flush=True)
    write_table(out / "objects.csv", rows)


def write_table(file: Path, rows: list[dict[str, Any]]) -> None:
    with file.open("w", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def find_objects(small: np.ndarray, model: Any) -> list[tuple[int, float, float, np.ndarray]]:
    """The class of each object, how sure of it the network is, how far GrabCut agrees, and the mask that this finds."""
    height, width = small.shape[:2]
    both = np.full((2, SIDE, SIDE, 3), 127, np.uint8)
    both[0, :height, :width], both[1, :height, :width] = small, small[:, ::-1]
    pixels = torch.from_numpy(both).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        logits = model(pixels.to(memory_format=torch.channels_last)).logits
        likely = F.interpolate(logits, (SIDE, SIDE), mode="bilinear", align_corners=True).softmax(1).numpy()
    likely = (likely[0, :, :height, :width] + likely[1, :, :height, :width][:, :, ::-1]) / 2
    best, found = likely.argmax(0), []
    for kind in np.unique(best)[np.unique(best) != 0]:
        count, labels, facts, _ = cv2.connectedComponentsWithStats((best == kind).astype(np.uint8), connectivity=4)
        for label in range(1, count):
            if 0.005 * best.size < facts[label, cv2.CC_STAT_AREA] < 0.6 * best.size:
                part = labels == label
                wide = cv2.dilate(part.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
                here = np.where(wide, likely[kind], 0)
                mask = np.where(here > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
                mask[here > 0.93], mask[here < 0.07] = cv2.GC_FGD, cv2.GC_BGD
                mask[(best != 0) & (best != kind) & (likely.max(0) > 0.8)] = cv2.GC_BGD
                cut = part
                if (mask == cv2.GC_FGD).any() and (mask == cv2.GC_BGD).any():
                    cv2.setRNGSeed(0)
                    cv2.grabCut(small, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
                    cut = (mask & 1) > 0
                agree = (cut & part).sum() / max(1, (cut | part).sum())
                found.append((int(kind), float(likely[kind][part].mean()), float(agree), cut))
    return found


def read_objects(photos: Path, folder: Path) -> tuple[dict[str, np.ndarray], list[tuple[str, np.ndarray]]]:
    """The photographs (H, W, 3), and the objects in them (H, W) that two methods agree about, by the photograph's name."""
    images: dict[str, np.ndarray] = {}
    objects = []
    for row, mask in read_masks(folder):
        objects.append((row["photo"], mask))
        if row["photo"] not in images:
            image = np.asarray(Image.open(photos / row["photo"]).convert("RGB"))
            images[row["photo"]] = cv2.resize(image, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    return images, objects


def read_masks(folder: Path) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """The rows of objects.csv of which examples are made, each with its mask (H, W)."""
    with (folder / "objects.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            if float(row["sure"]) >= SURE and float(row["agree"]) >= AGREE:
                mask = clean(np.asarray(Image.open(folder / row["mask"])) > 0)
                if mask is not None and 0.004 < mask.mean() < 0.6:
                    yield row, mask


def hold_out(photos: Iterable[str]) -> set[str]:
    """The photographs for validation."""
    names = sorted(photos)
    return {names[i] for i in np.random.default_rng(1).permutation(len(names))[: len(names) // HELD]}


def clean(mask: np.ndarray) -> np.ndarray | None:
    """The large parts of a mask, without small gaps; None where there is none."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    areas = facts[1:, cv2.CC_STAT_AREA]
    kept = np.isin(labels, 1 + np.flatnonzero(areas >= 0.1 * areas.max()))
    outlines, _ = cv2.findContours(kept.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0
    return whole if whole.sum() < 1.05 * kept.sum() else kept


# --- Examples --------------------------------------------------------------------------------------------------------


@dataclass
class Examples:
    """Draws windows: `seen` (n, 6, S, S), as `mend.segment.select` makes them, and what is the object (n, S, S)."""

    images: dict[str, np.ndarray]
    objects: list[tuple[str, np.ndarray]]
    random: np.random.Generator
    pasted: bool = True

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        seen, truths = [], []
        while len(seen) < count:
            one, truth = self.draw_window(*self.draw_scene())
            if truth.sum() >= 30:
                seen.append(one)
                truths.append(truth)
        return np.stack(seen), np.stack(truths)

    def draw_scene(self) -> tuple[np.ndarray, np.ndarray]:
        """A picture (H, W, 3) and the object in it, uint8 (H, W)."""
        random = self.random
        if not self.pasted:
            name, mask = self.objects[random.integers(len(self.objects))]
            return self.images[name], mask.astype(np.uint8)
        how = random.random()
        name, mask = self.objects[random.integers(len(self.objects))]
        image = self.images[name]
        if how < 0.55:
            return image, mask.astype(np.uint8)
        behind = self.draw_image()
        height, width = behind.shape[:2]
        if how < 0.75:
            x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
            scale = min(random.uniform(0.2, 0.8) * max(height, width) / max(w, h), 1.6)
            move = cv2.getRotationMatrix2D((x + w / 2, y + h / 2), random.normal() * 8, scale)
            to = np.array([random.uniform(0.15, 0.85) * width, random.uniform(0.15, 0.85) * height])
            move[:, 2] += to - (x + w / 2, y + h / 2)
            share = cv2.warpAffine(mask.astype(np.float32), move, (width, height), flags=cv2.INTER_LINEAR)
            pasted = cv2.warpAffine(image, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        else:
            share = draw_shape(random, height, width).astype(np.float32)
            surface = self.draw_image()
            scale = max(height / surface.shape[0], width / surface.shape[1]) * random.uniform(1, 2.5)
            surface = cv2.resize(surface, None, fx=scale, fy=scale)
            y, x = random.integers(surface.shape[0] - height + 1), random.integers(surface.shape[1] - width + 1)
            pasted = surface[y : y + height, x : x + width]
        hard = (share > 0.5).astype(np.uint8)
        if hard.sum() < 200:
            return image, mask.astype(np.uint8)
        amount = random.uniform(-0.3, 0.8)  # by how much of the difference its colour comes nearer to what it covers
        difference = behind[hard > 0].mean(0) - pasted[hard > 0].mean(0)
        pasted = np.clip(pasted.astype(np.float32) + amount * difference, 0, 255).astype(np.uint8)
        soft = cv2.GaussianBlur(share, (0, 0), random.uniform(0.5, 1.5))[..., None]
        return (pasted * soft + behind * (1 - soft)).astype(np.uint8), hard

    def draw_image(self) -> np.ndarray:
        names = list(self.images)
        return self.images[names[self.random.integers(len(names))]]

    def draw_window(self, image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        random = self.random
        x, y, w, h = cv2.boundingRect(mask)
        longest, how = max(w, h), random.random()
        marked = np.zeros(mask.shape, np.uint8)
        if how < BOX:
            left, top, right, bottom = (
                random.uniform(-0.02, 0.13) if random.random() < 0.5 else random.uniform(0.0, 0.06) for _ in range(4)
            )
            corners = x - left * w, y - top * h, x + w + right * w, y + h + bottom * h
            start, end = ((round(corners[i]), round(corners[i + 1])) for i in (0, 2))
            cv2.rectangle(marked, start, end, 1, -1)
            context = CONTEXT
        elif how < BOX + LASSO:
            cv2.fillPoly(marked, [self.draw_line(mask, longest)], 1)
            context = CONTEXT
        else:
            context = math.exp(random.uniform(math.log(1.3), math.log(7)))
        off = 0.3 * (context - 1)
        if how < BOX + LASSO:
            context *= math.exp(random.uniform(-0.25, 0.25))
            off = 0.08
        cx, cy = (middle + random.uniform(-off, off) * longest for middle in (x + w / 2, y + h / 2))
        side = min(context * longest, MOST_CONTEXT * max(mask.shape))
        turn = random.normal() * 6 if random.random() < 0.5 else 0
        move = cv2.getRotationMatrix2D((cx, cy), turn, WINDOW / side)
        move[:, 2] += WINDOW / 2 - np.array([cx, cy])
        if random.random() < 0.5:
            move[0] *= -1
            move[0, 2] += WINDOW
        within = warp(np.ones(mask.shape, np.uint8), move, cv2.INTER_NEAREST) > 0
        truth, marks = (warp(plane * 255, move, cv2.INTER_LINEAR) > 127 for plane in (mask, marked))
        if how < BOX and turn:  # a box stays upright
            x, y, w, h = cv2.boundingRect(truth.astype(np.uint8))
            left, top, right, bottom = (random.uniform(-0.02, 0.12) for _ in range(4))
            marks[:] = False
            rows = slice(max(0, int(y - top * h)), int(y + h * (1 + bottom)) + 1)
            marks[rows, max(0, int(x - left * w)) : int(x + w * (1 + right)) + 1] = True
        colours = self.change_colours(warp_image(image, move, WINDOW / side))
        colours[~within] = 0.5
        seen = encode(colours, marks & within)
        if how >= BOX + LASSO and truth.sum() >= 30:
            click(seen, *draw_place(random, truth), add=True)
        return seen, truth

    def draw_line(self, mask: np.ndarray, longest: int) -> np.ndarray:
        """The corners of a rough line around an object."""
        size = int(longest * self.random.uniform(0.02, 0.15)) | 1
        larger = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
        outlines, _ = cv2.findContours(larger, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        line = cv2.approxPolyDP(max(outlines, key=cv2.contourArea), 0.02 * longest, True)
        return cv2.convexHull(line) if self.random.random() < 0.4 else line

    def change_colours(self, window: np.ndarray) -> np.ndarray:
        random, colours = self.random, window.astype(np.float32) / 255
        if random.random() < 0.7:
            colours = colours ** math.exp(random.normal() * 0.25)
            grey = colours.mean(2, keepdims=True)
            colours = grey + (colours - grey) * math.exp(random.normal() * 0.3)
            colours = colours * tuple(1 + random.normal() * 0.1 for _ in range(3))
        if random.random() < 0.3:
            colours = colours + random.normal(size=colours.shape) * random.uniform(0, 0.05)
        return colours.clip(0, 1).astype(np.float32)


def draw_place(random: np.random.Generator, part: np.ndarray) -> tuple[int, int]:
    """The row and the column of a click in a part, bool (S, S): not at its rim."""
    depth = cv2.distanceTransform(np.pad(part.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() * random.uniform(0.3, 1))
    i = random.integers(len(rows))
    return int(rows[i]), int(columns[i])


def correct(random: np.random.Generator, seen: np.ndarray, found: np.ndarray, truth: np.ndarray) -> None:
    """A click in the largest part that is wrong."""
    wrong: list[tuple[int, bool, np.ndarray]] = []
    for add, part in ((True, truth & ~found), (False, found & ~truth)):
        count, labels, facts, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8), connectivity=4)
        if count > 1:
            largest = 1 + facts[1:, cv2.CC_STAT_AREA].argmax()
            wrong.append((facts[largest, cv2.CC_STAT_AREA], add, labels == largest))
    if wrong:
        area, add, part = max(wrong, key=lambda one: one[0])
        if area >= 6:
            click(seen, *draw_place(random, part), add=add)


def draw_shape(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A closed shape with limbs, uint8 (H, W)."""
    shape = np.zeros((height, width), np.uint8)
    kind = random.integers(4)
    cy, cx = random.uniform(0.25, 0.75) * height, random.uniform(0.25, 0.75) * width
    radius = random.uniform(0.06, 0.3) * min(height, width)
    if kind < 3:
        angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
        reach = np.ones(200)
        for waves in range(1, random.integers(3, 9)):
            reach += random.normal() * 0.45 / waves * np.cos(waves * angles + random.uniform(0, 6.3))
        reach = radius * np.maximum(reach, 0.25)
        longer, turn = np.exp(random.normal() * 0.4), random.uniform(0, 3.14)
        x, y = reach * np.cos(angles) * longer, reach * np.sin(angles) / longer
        rim = np.stack([cx + x * np.cos(turn) - y * np.sin(turn), cy + x * np.sin(turn) + y * np.cos(turn)], 1)
    else:
        corners = random.integers(3, 9)
        angles = np.sort(random.uniform(0, 2 * np.pi, corners))
        reach = radius * random.uniform(0.5, 1.6, corners)
        rim = np.stack([cx + reach * np.cos(angles), cy + reach * np.sin(angles)], 1)
    cv2.fillPoly(shape, [np.rint(rim).astype(np.int32)], 1)
    for _ in range(random.integers(0, 4)):
        x, y = rim[random.integers(len(rim))]
        angle, length = math.atan2(y - cy, x - cx) + random.normal() * 0.5, radius * random.uniform(0.5, 2)
        end = int(x + length * math.cos(angle)), int(y + length * math.sin(angle))
        thick = int(max(2, radius * random.uniform(0.08, 0.35)))
        cv2.line(shape, (int((x + cx) / 2), int((y + cy) / 2)), end, 1, thick)
    return shape


def warp(plane: np.ndarray, move: np.ndarray, flags: int) -> np.ndarray:
    return cv2.warpAffine(plane, move, (WINDOW, WINDOW), flags=flags)


# --- Network ---------------------------------------------------------------------------------------------------------


class Convolution(nn.Sequential):
    def __init__(self, before: int, after: int) -> None:
        super().__init__(nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(True))


class Residual(nn.Module):
    def __init__(self, width: int, dilation: int = 1) -> None:
        super().__init__()
        self.a = Convolution(width, width)
        last = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.b = nn.Sequential(last, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(self.a(x)))


class ObjectNetwork(nn.Module):
    """A U-Net from what is seen (n, 6, S, S) to logits of what belongs to the object (n, 1, S, S): colours, what is marked by a
    box or a line, clicks that add, and clicks that take away."""

    def __init__(self) -> None:
        super().__init__()
        w = WIDTHS
        self.stem = Convolution(24, w[0])
        levels = [nn.Sequential(Residual(w[0]))]
        levels += [nn.Sequential(Convolution(a, b), Residual(b)) for a, b in pairwise(w)]
        self.down = nn.ModuleList(levels)
        self.deep = nn.Sequential(Residual(w[3], 2))
        self.pool = nn.Linear(w[3], w[3])
        self.up = nn.ModuleList([Convolution(w[i + 1] + w[i], w[i]) for i in range(3)])
        self.out = nn.Conv2d(w[0], 4, 3, padding=1)

    def forward(self, seen: Tensor) -> Tensor:
        x, skips = self.stem(F.pixel_unshuffle(seen, 2)), []
        for i, down in enumerate(self.down):
            x = down(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        x = self.deep(x)
        x = x + self.pool(x.mean((2, 3)))[:, :, None, None]
        for i in (2, 1, 0):
            larger = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = self.up[i](torch.cat([larger, skips[i]], 1))
        return F.pixel_shuffle(self.out(x), 2)


# --- Training --------------------------------------------------------------------------------------------------------


def train(photos: Path, folder: Path, out: Path, steps: int) -> None:
    images, objects = read_objects(photos, folder)
    held = hold_out(images)
    print(f"{len(objects)} objects in {len(images)} photographs, of which {len(held)} are held out", flush=True)
    parts = [{name: image for name, image in images.items() if (name in held) is kept} for kept in (False, True)]
    drawn = [[one for one in objects if one[0] in part] for part in parts]
    examples = Examples(parts[0], drawn[0], np.random.default_rng(0))
    unseen = Examples(parts[1], drawn[1], np.random.default_rng(5), pasted=False)
    validation = [unseen.draw(64) for _ in range(6)]
    network, mean = (ObjectNetwork().to(memory_format=torch.channels_last) for _ in range(2))
    mean.load_state_dict(network.state_dict())
    mean.eval()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-3)
    state, start = out / "state.pt", 0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        for part, name in ((network, "network"), (mean, "mean"), (optimizer, "optimizer")):
            part.load_state_dict(kept[name])
        start = kept["step"]
        examples.random = np.random.default_rng(start)
    out.mkdir(parents=True, exist_ok=True)
    began, smooth = time.monotonic(), 0.0
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        seen, truths = examples.draw(BATCH)
        clicks = examples.random.integers(0, 3) if step > 300 else 0
        if clicks:
            add_clicks(network, examples.random, seen, truths, clicks, BATCH // 2 if clicks == 1 else BATCH)
        value = loss(ask(network, seen), truths)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        follow(mean, network, min(0.998, (step + 1) / (step + 50)))
        smooth = 0.98 * smooth + 0.02 * value.item()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            scores = validate(mean, validation)
            each = (time.monotonic() - began) / (step + 1 - start)
            row = {"step": step + 1, "loss": smooth, **scores, "seconds a step": each, "commit": find_commit()}
            print(row, flush=True)
            with (out / "metrics.csv").open("a", newline="") as table:
                writer = csv.DictWriter(table, list(row))
                if table.tell() == 0:
                    writer.writeheader()
                writer.writerow(row)
            parts_of = {"network": network, "mean": mean, "optimizer": optimizer}
            whole = {name: part.state_dict() for name, part in parts_of.items()} | {"step": step + 1}
            torch.save(whole, out / "state.part")
            (out / "state.part").replace(state)


def rate(step: int, steps: int) -> float:
    """The learning rate: it rises for 200 steps, and falls to zero as a cosine from three tenths on."""
    falling = 0.5 + 0.5 * math.cos(math.pi * max(0, step / steps - 0.3) / 0.7)
    return RATE * min(1, step / 200 + 0.01) * falling


def add_clicks(
    network: nn.Module, random: np.random.Generator, seen: np.ndarray, truths: np.ndarray, clicks: int, of: int
) -> None:
    """Clicks in the first `of` examples, each after the network has seen the one before."""
    network.eval()
    for _ in range(clicks):
        with torch.inference_mode():
            found = (ask(network, seen[:of]) > 0).numpy()
        for i in range(of):
            correct(random, seen[i], found[i], truths[i])
    network.train()


def ask(network: nn.Module, seen: np.ndarray) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return network(torch.from_numpy(seen).to(memory_format=torch.channels_last)).float()[:, 0]


def loss(logits: Tensor, truths: np.ndarray) -> Tensor:
    """Cross-entropy, plus half of one minus the soft intersection over union."""
    truth, likely = torch.from_numpy(truths).float(), logits.sigmoid()
    both = (likely * truth).sum((1, 2))
    either = (likely + truth - likely * truth).sum((1, 2))
    return F.binary_cross_entropy_with_logits(logits, truth) + 0.5 * (1 - (both + 1) / (either + 1)).mean()


@torch.no_grad()
def follow(mean: nn.Module, network: nn.Module, keep: float) -> None:
    for ours, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
        if ours.is_floating_point():
            ours.lerp_(new, 1 - keep)
        else:
            ours.copy_(new)


def validate(mean: nn.Module, batches: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The median overlap with one box or line and with one click, and after one and two clicks more."""
    overlaps: dict[str, list[float]] = {}
    for given, truths in batches:
        seen, random = given.copy(), np.random.default_rng(0)
        clicked = given[:, 4].any((1, 2))
        for clicks in range(3):
            with torch.inference_mode():
                found = (ask(mean, seen) > 0).numpy()
            both, either = (part.sum((1, 2)) for part in (found & truths, found | truths))
            for first, overlap in zip(clicked, both / np.maximum(1, either), strict=True):
                overlaps.setdefault(f"{'click' if first else 'box'} and {clicks}", []).append(float(overlap))
            for i in range(len(seen)):
                correct(random, seen[i], found[i], truths[i])
    return {name: float(np.median(values)) for name, values in sorted(overlaps.items())}


# --- Graph -----------------------------------------------------------------------------------------------------------


CARD = """\
# The network of the object tool

A small U-Net with {weights:,} weights, {megabytes:.1f} MB in half precision. It sees a window of {window}×{window} pixels of
a picture, with a box or a rough line around a thing, or with clicks. It says of each pixel how likely it belongs to the thing
that is meant. `mend/segment/select.py` uses it.

- **Training data**: {objects:,} objects in {photographs:,} photographs; {held} more photographs served for validation.
  [objects.csv](../../../results/select/objects.csv) lists them, and
  [photographs.csv](../../../results/structure/photographs.csv) the source and the licence of each photograph; for
  {unchecked} of the {all} we did not check the photographers' rights. A DeepLabV3 on MobileNetV2 (Apache-2.0, trained on PASCAL
  VOC) found the objects, and GrabCut their borders. Nobody corrected them.
- **Examples**: 55 of 100 are windows around these objects. In the others, an object or a drawn shape is pasted into another
  photograph.
- **Training**: {steps:,} steps of {batch} windows, AdamW, a moving average of the weights; about {minutes:.0f}
  minutes of one CPU core beside other work.
- **Learning curve**: [metrics.csv](../../../results/select/metrics.csv). At the end, the median overlap (intersection over
  union) on the validation photographs was {box:.2f} with a box or a line, {box2:.2f} after two clicks more, and {click:.2f}
  with one click alone.
- **Scores**: [object-selection.json](../../../results/object-selection.json), with outlines that were drawn by hand, on
  photographs that it was not trained on.
- **Code**: `benchmarks/object_network.py`. The training used an earlier form of it. Both draw the same examples and take the
  same steps: we compared some of them bit for bit.
- **Limits**: {people:.0%} of its objects are people. It has learned what another network finds, mistakes included. It misses
  thin things, such as wires and branches.
"""
PERSON = "15"  # among the classes of PASCAL VOC


def export(folder: Path, run: Path) -> None:
    import onnxruntime

    network = ObjectNetwork()
    network.load_state_dict(torch.load(run / "state.pt", weights_only=True)["mean"])
    network.eval()
    seen = torch.rand(2, 6, WINDOW, WINDOW)
    write_bytes(NETWORK, make_graph(network, seen, run / "model.onnx"))
    found = onnxruntime.InferenceSession(NETWORK).run(None, {"seen": seen.numpy()})[0]
    with torch.inference_mode():
        off = np.abs(found - network(seen).numpy()).max()
    print(f"{NETWORK}: the logits are off by {off:.2g}")
    rows = [row for row, _ in read_masks(folder)]
    names = {row["photo"] for row in rows}
    with (RESULTS / "structure" / "photographs.csv").open(newline="") as table:
        unchecked = {row["file"] for row in csv.DictReader(table) if "not checked" in row["licence"]}
    held = hold_out(names)
    results = RESULTS / "select"
    results.mkdir(exist_ok=True)
    used = [{**row, "for": "validation" if row["photo"] in held else "training"} for row in rows]
    for row in used:
        del row["mask"]  # a file that nobody else has
    write_table(results / "objects.csv", used)
    write_bytes(results / "metrics.csv", (run / "metrics.csv").read_bytes())
    with (run / "metrics.csv").open(newline="") as table:
        last = list(csv.DictReader(table))[-1]
    facts = {
        "weights": sum(weight.numel() for weight in network.parameters()),
        "megabytes": NETWORK.stat().st_size / 1e6,
        "window": WINDOW,
        "objects": sum(row["photo"] not in held for row in rows),
        "photographs": len(names) - len(held),
        "held": len(held),
        "unchecked": len(names & unchecked),
        "all": len(names),
        "people": sum(row["class"] == PERSON for row in rows) / len(rows),
        "steps": int(last["step"]),
        "batch": BATCH,
        "minutes": int(last["step"]) * float(last["seconds a step"]) / 60,
        "box": float(last["box and 0"]),
        "box2": float(last["box and 2"]),
        "click": float(last["click and 0"]),
    }
    write_bytes(NETWORK.with_name("README.md"), CARD.format(**facts).encode())


def make_graph(network: nn.Module, seen: Tensor, file: Path) -> bytes:
    import onnx

    torch.onnx.export(
        network, (seen,), file, input_names=["seen"], output_names=["logits"], dynamo=True, external_data=False,
        dynamic_shapes={"seen": {0: torch.export.Dim("n", min=1, max=64)}}, opset_version=18,
    )  # fmt: skip
    graph = onnx.load(file)
    drop_traces(graph)
    halve_weights(graph)
    return graph.SerializeToString()


def halve_weights(graph: Any) -> None:
    """Keep the large tensors of a graph in half precision, each behind a cast that ONNX Runtime does once."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in graph.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) > 256:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{tensor.name}_half")
            casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(half)
    for i, cast in enumerate(casts):
        graph.graph.node.insert(i, cast)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("find", "train", "export"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    if given.what == "find":
        find(*given.folders)
    elif given.what == "train":
        train(*given.folders, given.steps)
    else:
        export(*given.folders)


if __name__ == "__main__":
    main()
