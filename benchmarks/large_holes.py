"""Large holes in whole photographs: the network that comes with mend against other fillers.

    python benchmarks/large_holes.py ../shared/data/photos/val masks/cifar10/test
    python benchmarks/large_holes.py --compare
    python benchmarks/large_holes.py --frechet ../shared/data/photos/val masks/cifar10/test

The first argument is a folder of photographs, the second a mask set whose silhouettes, enlarged, are the objects. Every
photograph has one hole of 5–10 %, one of 10–25 % and one of 25–40 %: an object, a box or strokes, in turn. `gmic` and
`pypatchmatch` are measured where they are installed (see other_fillers.py); `mend` is what `mend fill` does,
`mend, smooth` the same with --smooth. Writes results/large-holes.json, .csv (one row a filling) and .png, and the table of
docs/results.md. With --compare nothing is filled: the differences on the same holes are made anew, of the rows in
results/large-holes.csv. With --frechet `mend` and the other programs fill, and only the differences of their Fréchet distances
are made anew.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from other_fillers import other_fillers
from torch import Tensor

from mend.data.loaders import to_image
from mend.data.random import uniform
from mend.evaluate.metrics import FeatureSets, frechet, psnr, ssim
from mend.evaluate.statistics import bootstrap
from mend.filling.load import load_filler
from mend.images import arrange_grid, composite, find_pictures, mask_out, read_rgb, to_pixels, write_bytes, write_image
from mend.inpaint.classical import CLASSICAL
from mend.inpaint.filler import Filler
from mend.inpaint.plan import make_plan
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet
from mend.models.checkpoint import find_commit
from mend.models.classifier import difference, load_classifier
from mend.models.device import device_name, find_device
from mend.progress import progress
from mend.report import write_into

BINS = ((0.05, 0.10), (0.10, 0.25), (0.25, 0.40))
KINDS = ("object", "boxes", "strokes")
METHODS = ("telea", "navier-stokes", "biharmonic", "harmonic", "gmic", "pypatchmatch", "mend, smooth", "mend")
BESIDE = ("harmonic", "gmic", "pypatchmatch")  # what ours are compared with on the same holes
METRICS = ("psnr", "ssim", "lpips-cifar")
FRECHET = "fid-cifar of patches"
COPYING = ("gmic", "pypatchmatch")  # those of them whose patches are real ones
RESAMPLES = 300
DIGITS = {"psnr": 2, "ssim": 3, "lpips-cifar": 3, FRECHET: 2}
PATCH = 32  # pixels: what the classifier was made for
SHOWN = 8  # scenes in the picture
OUT = Path(__file__).parent.parent / "results" / "large-holes"

Scene = tuple[str, int, str, Tensor, Tensor]  # photograph, bin, kind, image, hole
device = find_device("auto")


def scenes(photos: Path, silhouettes: Path, every: int = 1) -> Iterator[Scene]:
    """Every so many-th photograph with a hole of each size."""
    masks = MaskSet.open(silhouettes)
    covers = masks.coverage()
    for i, file in enumerate(find_pictures(photos)):
        if i % every:
            continue
        image = to_image(read_rgb(file)[None])
        for b, (low, high) in enumerate(BINS):
            kind = KINDS[(i // every + b) % 3]
            yield file.stem, b, kind, image, hole(kind, image.shape[-2:], low, high, masks, covers, i, b)


def hole(kind: str, size: torch.Size, low: float, high: float, masks: MaskSet, covers: np.ndarray, *keys: int) -> Tensor:
    share, choice = uniform(2, 4, *keys)
    if kind != "object":
        drawn = DRAWN[kind](size[0], size[1], low + (high - low) * share, 4, *keys)
        return torch.from_numpy(drawn).float()[None, None]
    fitting = np.flatnonzero((covers > low) & (covers < high))
    small = torch.from_numpy(masks.read(fitting[[int(choice * len(fitting))]])).float()[None]
    return (F.interpolate(small, tuple(size), mode="bicubic", antialias=True) >= 0.5).float()


def fillers() -> dict[str, Filler]:
    """Of `METHODS` those that can be used here."""
    made = other_fillers() | {"mend, smooth": load_filler(smooth=True), "mend": load_filler()}
    made |= {name: load_filler(name) for name in METHODS if name in CLASSICAL}
    return {name: made[name] for name in METHODS if name in made}


classifier = load_classifier(device)
look = classifier.layers


@torch.inference_mode()
def scores(filled: Tensor, image: Tensor, missing: Tensor) -> dict[str, float]:
    # The classifier was made for pictures of 32 pixels, and is slow on large ones: it sees them at a third of their size.
    small, true = (F.interpolate(part.to(device), scale_factor=1 / 3, mode="area") for part in (filled, image))
    return {
        "psnr": psnr(filled, image, missing).item(),
        "ssim": ssim(filled, image, missing).item(),
        "lpips-cifar": difference(look(small), look(true)).item(),
    }


@torch.inference_mode()
def features_inside(image: Tensor, missing: Tensor) -> Tensor:
    """What the classifier sees in the patches (n, 192) that lie within the hole, every half patch."""
    windows = F.unfold(torch.cat([image, missing], 1), PATCH, stride=PATCH // 2)[0].T.view(-1, 4, PATCH, PATCH)
    inside = windows[windows[:, 3].amin((1, 2)) > 0, :3]
    return classifier.pooled(inside.to(device)).cpu()


def fill_image(filler: Filler, image: Tensor, missing: Tensor) -> Tensor:
    hole = missing.numpy()
    raw = filler(mask_out(image, missing).numpy(), hole, make_plan(filler, hole).tile)
    return torch.from_numpy(np.ascontiguousarray(raw))


def fill(filler: Filler, image: Tensor, missing: Tensor) -> tuple[Tensor, float]:
    """The filled image in whole grey levels, and the CPU seconds it took: other programs that run do not count."""
    start = time.process_time()
    raw = fill_image(filler, image, missing)
    return to_image(to_pixels(composite(image, raw, missing))), time.process_time() - start


Seen = dict[tuple[int, str], list[Tensor]]  # bin, method or "truth": `features_inside` of every scene


def measure(made: dict[str, Filler], everything: list[Scene], seen: Seen | None = None) -> tuple[pd.DataFrame, np.ndarray]:
    """A row for each filling, and a picture of some of them; what is seen in the holes is added to `seen`."""
    wide = [i for i, (_, _, _, image, _) in enumerate(everything) if image.shape[-1] > image.shape[-2]]
    shown = set(wide[1 :: max(1, len(wide) // SHOWN)])  # of one shape, so that none is squeezed
    rows: list[dict[str, object]] = []
    pictures: list[np.ndarray] = []
    with progress("large holes", "scenes") as report:
        for done, (name, b, kind, image, missing) in enumerate(everything):
            strip = [image, mask_out(image, missing)]
            if seen is not None:
                seen.setdefault((b, "truth"), []).append(features_inside(image, missing))
            for method, filler in made.items():
                filled, seconds = fill(filler, image, missing)
                facts = {"photo": name, "bin": b, "kind": kind, "coverage": missing.mean().item(), "method": method}
                rows.append({**facts, "seconds": seconds, **scores(filled, image, missing)})
                strip.append(filled)
                if seen is not None:
                    seen.setdefault((b, method), []).append(features_inside(filled, missing))
            if done in shown:
                square = [F.interpolate(part, (214, 320), mode="area") for part in strip]
                pictures.append(np.concatenate([to_pixels(part) for part in square]))
            report(done + 1, len(everything))
    return pd.DataFrame(rows), arrange_grid(pictures, gap=3)


def label(b: int) -> str:
    return "–".join(f"{edge:.0%}".rstrip("%") for edge in BINS[b]) + " %"


def summary(rows: pd.DataFrame, seen: Seen) -> dict[str, Any]:
    """Means with their 95 % bootstrap interval over photographs, and the differences from other fillers on the same holes."""
    means: dict[str, dict[str, dict[str, Any]]] = {}
    for (b, method), part in rows.groupby(["bin", "method"], sort=False):
        here = means.setdefault(label(int(b)), {})
        here[str(method)] = {
            **intervals(part[list(METRICS)]),
            FRECHET: {"mean": frechet(FeatureSets(*(torch.cat(seen[int(b), name]) for name in ("truth", str(method)))))},
            "patches": sum(map(len, seen[int(b), "truth"])),
            "n": len(part),
            "seconds": {"median": part["seconds"].median(), "largest": part["seconds"].max()},
        }
    return {
        "commit": find_commit(),
        "device": device_name(device),
        "torch": torch.__version__,
        "photographs": rows["photo"].nunique(),
        "definition": "PSNR and SSIM of the pixels of the hole; LPIPS-CIFAR of the whole photograph at a third of its size; "
        f"the Fréchet distance is that of what our CIFAR-10 classifier sees in patches of {PATCH}×{PATCH} within the holes",
        "columns of the picture": ["original", "masked", *dict.fromkeys(rows["method"])],
        "by coverage": means,
        "on the same holes": compare(rows),
        "Fréchet distances apart": compare_looks(seen),
    }


def compare(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """By coverage, ours minus others on the same holes: also of the rows that large-holes.csv has kept."""
    by_photo = rows.set_index(["bin", "photo"])
    beside = {}
    for b in range(len(BINS)):
        scores = {method: part.loc[b, list(METRICS)] for method, part in by_photo.groupby("method")}
        beside[label(b)] = {
            f"{ours} − {other}": intervals(scores[ours] - scores[other])
            for ours in ("mend, smooth", "mend")
            for other in BESIDE
            if ours in scores and other in scores
        }
    return beside


def compare_looks(seen: Seen) -> dict[str, Any]:
    """By coverage, the Fréchet distance of `mend` minus that of another on the same holes, with its 95 % bootstrap interval.

    A resample draws photographs. What it repeats makes every distance larger; so the interval is the spread of the difference
    around its mean, set around the difference that was measured.
    """
    beside: dict[str, Any] = {"commit": find_commit()}

    def apart(b: int, other: str, drawn: np.ndarray) -> float:
        truth, ours, theirs = (torch.cat([seen[b, name][i] for i in drawn]) for name in ("truth", "mend", other))
        return frechet(FeatureSets(truth, ours)) - frechet(FeatureSets(truth, theirs))

    for b in range(len(BINS)):
        random, count, found = np.random.default_rng(b), len(seen[b, "truth"]), {}
        resamples = [random.integers(count, size=count) for _ in range(RESAMPLES)]
        for other in COPYING:
            if (b, other) in seen:
                measured = apart(b, other, np.arange(count))
                spread = np.array([apart(b, other, drawn) for drawn in resamples])
                low, high = measured + np.percentile(spread, [2.5, 97.5]) - spread.mean()
                found[f"mend − {other}"] = {"mean": measured, "low": low, "high": high}
        beside[label(b)] = found
    return beside


def intervals(values: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The mean of each column with its 95 % bootstrap interval over photographs, a row each."""
    low, high = bootstrap(values.to_numpy(np.float64))
    return {name: {"mean": values[name].mean(), "low": low[i], "high": high[i]} for i, name in enumerate(values.columns)}


def table(found: dict[str, Any]) -> str:
    """A table of the methods for each coverage."""
    lines = []
    for coverage, scores in found["by coverage"].items():
        columns = {metric: [one[metric]["mean"] for one in scores.values()] for metric in DIGITS}
        best = {metric: (max if metric in ("psnr", "ssim") else min)(values) for metric, values in columns.items()}
        lines += [
            f"Holes of {coverage} of the photograph:",
            "",
            "| Method | PSNR (dB) ↑ | SSIM ↑ | LPIPS-CIFAR ↓ | Fréchet ↓ | seconds |",
            "| :--- |" + " ---: |" * 5,
        ]
        for method in found["columns of the picture"][2:]:
            cells = []
            for metric, digits in DIGITS.items():
                mean = scores[method][metric]["mean"]
                cells.append(f"**{mean:.{digits}f}**" if mean == best[metric] else f"{mean:.{digits}f}")
            lines.append(f"| {method} | " + " | ".join(cells) + f" | {scores[method]['seconds']['median']:.2f} |")
        lines.append("")
    note = (
        f"Means over n = {found['photographs']} photographs a table, with objects, boxes and strokes in turn. PSNR and SSIM: "
        "of the pixels of the hole. LPIPS-CIFAR: of the photograph. Fréchet: the distance between the filled and the real "
        f"patches of {PATCH}×{PATCH} pixels within the holes, by our CIFAR-10 classifier. Bold: best. Seconds: CPU time, "
        f"median, {found['device']}. Commit {found['commit']}."
    )
    return "\n".join([*lines, f"<sub>{note}</sub>", ""])


def write(found: dict[str, Any]) -> None:
    write_bytes(OUT.with_suffix(".json"), json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    write_into(OUT.parent.parent / "docs" / "results.md", table(found), "large-holes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="photographs, and silhouettes")
    parser.add_argument("--every", type=int, default=1, help="each so many-th photograph only")
    parser.add_argument("--compare", action="store_true", help="make only the differences anew, of the rows that are there")
    parser.add_argument("--frechet", action="store_true", help="make only the differences of the Fréchet distances anew")
    given = parser.parse_args()
    if given.compare:
        found = json.loads(OUT.with_suffix(".json").read_text(encoding="utf-8"))
        found["on the same holes"] = compare(pd.read_csv(OUT.with_suffix(".csv")))
        write(found)
        return
    if len(given.folders) != 2:
        parser.error("name a folder of photographs and one of silhouettes, or --compare")
    photos, silhouettes = given.folders
    seen: Seen = {}
    if given.frechet:
        made = {name: filler for name, filler in fillers().items() if name in ("mend", *COPYING)}
        measure(made, list(scenes(photos, silhouettes, given.every)), seen)
        found = json.loads(OUT.with_suffix(".json").read_text(encoding="utf-8"))
        found["Fréchet distances apart"] = compare_looks(seen)
        write(found)
        return
    rows, picture = measure(fillers(), list(scenes(photos, silhouettes, given.every)), seen)
    found = summary(rows, seen)  # before its own files make the checkout another
    write_bytes(OUT.with_suffix(".csv"), rows.to_csv(index=False, float_format="%.5g").encode())
    write_image(OUT.with_suffix(".png"), picture)
    write(found)
    print(rows.pivot_table(index="method", columns="bin", values=[*METRICS, "seconds"]).round(3).to_string())
    print(rows.pivot_table(index="method", columns=["kind", "bin"], values="psnr").round(2).to_string())


if __name__ == "__main__":
    main()
