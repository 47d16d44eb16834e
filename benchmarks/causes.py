"""What lies behind the differences of cifar10-object-v1: own and borrowed holes, and the conventions of the published numbers.

    python benchmarks/causes.py results/cifar10-object-v1 ../shared/data/cifar10 masks/cifar10

Own and borrowed holes: the protocol gives an image the hole of another one where its own is too small or too large. From the
rows of the result, the difference of every network from the plain U-Net of its width on either kind, and of `unet-context` from
the two published networks. Intervals are over trainings and images where each was trained several times, else over images
alone.

Conventions: the two published networks, as trained here, fill the first --count test images under the holes of the protocol,
and under each image's own, none left out; raw and composited; PSNR as a mean over images and as that of the mean error, both by
a data range of 1 and of 2; SSIM too. Each combination is compared with the published PSNR and SSIM. LPIPS and FID are not among
them: they need weights that are fetched. Writes results/causes.json and results/causes.md.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from mend.data.loaders import to_image
from mend.data.sources import Images, load_images
from mend.evaluate.compare import Difference, compare_groups
from mend.evaluate.metrics import METRICS, measure_squared_error, name_metric
from mend.evaluate.result import Result, find_rows_file, read_result, read_scores
from mend.evaluate.trainings import name_group, pair_with_plain
from mend.filling.load import load_filler
from mend.images import composite, mask_out, write_bytes
from mend.masks.store import MaskSet, find_set
from mend.models.checkpoint import find_commit
from mend.models.device import device_name, find_device
from mend.report.tables import order_methods

OUT = Path(__file__).parent.parent / "results" / "causes"
COLUMNS = ("psnr", "psnr_raw", "psnr_hole", "psnr_band", "ssim", "lpips-cifar", "lpips-cifar_raw")
PUBLISHED, OURS = ("unet-simple", "unet-aspp"), "unet-context"
BATCH = 250


# --- Own and borrowed holes ------------------------------------------------------------------------------------------


def by_owner(result: Path, images: Images, masks: MaskSet) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The differences from the U-Net, and of ours from the published networks, on images with their own hole and with a
    borrowed one; how many there are of each."""
    there = read_result(result)
    rows = masks.rows(images, there.protocol.policy)
    labels = pd.Series(np.where(rows == images.rows, "own", "borrowed"))
    found: list[dict[str, Any]] = []
    for pairs in pair_with_plain(there, order_methods(there, None)).values():
        networks = [(there.methods[network[0]].model.model, network) for _, network in pairs]
        ours, published = ([group for model, group in networks if model in names] for names in ((OURS,), PUBLISHED))
        named = [(base, other, name_group(there, other)) for base, other in pairs]
        named += [(b, a, f"{name_group(there, a)} minus {name_group(there, b)}") for a in ours for b in published]
        for base, other, name in named:
            a, b = ([read_scores(find_rows_file(result, method)) for method in group] for group in (other, base))
            differences = compare_groups(labels, list(COLUMNS), a, b)
            found += [{"network": name, **record(one)} for one in differences]
    return found, {str(label): int(n) for label, n in labels.value_counts().items()}


def record(one: Difference) -> dict[str, Any]:
    names = ("metric", "group", "n", "a", "b", "difference", "low", "high")
    return {name: getattr(one, name) for name in names} | {"trainings": [one.trainings_a, one.trainings_b]}


# --- The conventions of the published numbers ------------------------------------------------------------------------


@torch.inference_mode()
def measure(model: Path, images: Images, holes: np.ndarray) -> dict[str, dict[str, float]]:
    """By view PSNR and SSIM by every convention; `holes` (N, 1, H, W) uint8."""
    filler = load_filler(model, "cpu")
    parts: dict[str, list[torch.Tensor]] = {}
    for start in range(0, len(holes), BATCH):
        image = to_image(np.array(images.pixels[start : start + BATCH]))
        hole = torch.from_numpy(holes[start : start + BATCH]).float()
        raw = torch.from_numpy(filler(mask_out(image, hole).numpy(), hole.numpy()))
        for view, filled in (("raw", raw), ("composited", composite(image, raw, hole))):
            values = [measure_squared_error(filled, image).mean((1, 2, 3))]
            for scale, shift in ((1.0, 0.0), (2.0, 0.0), (2.0, -1.0)):  # range 1; 2 over [0, 1]; 2 over [−1, 1]
                a, b = ((part if shift == 0 else scale * part + shift) for part in (filled, image))
                values.append(structural_similarity_index_measure(a, b, data_range=scale, reduction="none"))
            parts.setdefault(view, []).append(torch.stack(values))
    found: dict[str, dict[str, float]] = {}
    for view, several in parts.items():
        error, one, two, centred = torch.cat(several, 1).double()
        exact = error == 0  # an empty hole: infinitely good alone, and nothing in a mean error
        psnr = -10 * error[~exact].log10()
        found[view] = {
            "exact": int(exact.sum()),
            "mean of PSNR": float(psnr.mean()),
            "mean of PSNR, exact ones as 100 dB": float((psnr.sum() + 100 * exact.sum()) / len(error)),
            "PSNR of the mean error": float(-10 * error.mean().log10()),
            "SSIM, range 1": float(one.mean()),
            "SSIM, range 2 over [0, 1]": float(two.mean()),
            "SSIM, range 2 over [−1, 1]": float(centred.mean()),
        }
    return found


def conventions(measured: dict[str, dict[str, dict[str, dict[str, float]]]], result: Result) -> list[dict[str, Any]]:
    """Every combination with how far it is from what was published, over both networks, nearest first.

    Far is counted in shares: decibels of PSNR and hundredths of SSIM, root mean square.
    """
    published = {row.name.split(" ")[0]: row.scores for row in result.protocol.published}
    found: list[dict[str, Any]] = []
    holes, views = measured[PUBLISHED[0]], ("raw", "composited")
    psnrs = ("mean of PSNR", "mean of PSNR, exact ones as 100 dB", "PSNR of the mean error")
    ssims = ("SSIM, range 1", "SSIM, range 2 over [0, 1]", "SSIM, range 2 over [−1, 1]")
    for kind, view, psnr, add, ssim in itertools.product(holes, views, psnrs, (1, 2), ssims):
        if psnr == psnrs[1] and not measured[PUBLISHED[0]][kind][view]["exact"]:
            continue
        numbers = {
            name: (measured[name][kind][view][psnr] + 20 * np.log10(add), measured[name][kind][view][ssim])
            for name in PUBLISHED
        }
        off = [
            value
            for name, (p, s) in numbers.items()
            for value in (p - published[name]["psnr"], 100 * (s - published[name]["ssim"]))
        ]
        found.append(
            {
                "holes": kind,
                "view": view,
                "psnr": f"{psnr}, range {add}",
                "ssim": ssim,
                "distance": float(np.sqrt(np.mean(np.square(off)))),
                **{name: {"psnr": float(p), "ssim": float(s)} for name, (p, s) in numbers.items()},
            }
        )
    return sorted(found, key=lambda one: one["distance"])


# --- In words --------------------------------------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "| :--- |" + " ---: |" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def text(found: dict[str, Any]) -> str:
    owners, rows = found["own and borrowed"], []
    for network in dict.fromkeys(one["network"] for one in owners):
        for column in COLUMNS:
            digits = METRICS[name_metric(column)].digits
            cells = {
                one[
                    "group"
                ]: f"{one['difference']:+.{digits}f} <sub>{one['low']:+.{digits}f} to {one['high']:+.{digits}f}</sub>"
                for one in owners
                if (one["network"], one["metric"]) == (network, column)
            }
            rows.append([f"{network}: {column}", cells["own"], cells["borrowed"]])
    counts = found["holes"]
    several = min(owners[0]["trainings"]) > 1
    over = "over trainings and images" if several else "over images alone: of one training each they speak of these weights"
    parts = [
        "# Own and borrowed holes\n",
        f"Differences from the plain U-Net of the same width, or from the network after *minus*, with 95 % intervals {over}.\n",
    ]
    parts.append(table(["", *(f"{name} (n = {counts[name]})" for name in ("own", "borrowed"))], rows))
    if "conventions" in found:
        parts += ["# The published numbers by other conventions\n"]
        parts.append(
            f"PSNR and SSIM, n = {found['count']} test images: the nearest eight combinations, every tenth of the others.\n"
        )
        shown = [
            [one["holes"], one["view"], one["psnr"], one["ssim"], f"{one['distance']:.2f}"]
            + [f"{one[name]['psnr']:.2f} · {one[name]['ssim']:.3f}" for name in PUBLISHED]
            for one in [*found["conventions"][:8], *found["conventions"][8::10]]
        ]
        parts.append(table(["holes", "view", "PSNR", "SSIM", "distance", *PUBLISHED], shown))
        quoted = "; ".join(f"{name} {score['psnr']:.2f} · {score['ssim']:.3f}" for name, score in found["published"].items())
        parts.append(
            f"<sub>Published: {quoted}. Distance: root mean square of decibels of PSNR and hundredths of SSIM.</sub>\n"
        )
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path)
    parser.add_argument("data")
    parser.add_argument("masks")
    parser.add_argument("--count", type=int, default=2000, help="test images for the conventions; 0 leaves them as they are")
    given = parser.parse_args()
    result, images = read_result(given.result), load_images(given.data, "test")
    made = find_set(given.masks, images)
    owners, counts = by_owner(given.result, images, made)
    found: dict[str, Any] = json.loads(OUT.with_suffix(".json").read_text(encoding="utf-8")) if not given.count else {}
    found |= {"commit": find_commit(), "device": device_name(find_device("cpu")), "holes": counts, "own and borrowed": owners}
    if given.count:
        policy = result.protocol.policy
        kinds = {"of the protocol": made.rows(images, policy), "own, none left out": images.rows}
        holes = {kind: made.read(rows[: given.count]) for kind, rows in kinds.items()}
        measured = {
            name: {
                kind: measure(given.result / "models" / f"{name}-w16", images, one[:, None].astype(np.uint8))
                for kind, one in holes.items()
            }
            for name in PUBLISHED
        }
        found |= {"count": given.count, "measured": measured, "conventions": conventions(measured, result)}
        found["published"] = {row.name.split(" ")[0]: row.scores for row in result.protocol.published}
    write_bytes(OUT.with_suffix(".json"), json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n")
    write_bytes(OUT.with_suffix(".md"), text(found).encode())
    print(text(found))


if __name__ == "__main__":
    main()
