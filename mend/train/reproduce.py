"""Reproduce a result: its masks, its trainings and its evaluation done again, and old numbers beside new ones.

Fillers without training must give the same numbers. A network trained again does not: another machine adds up in another order,
and training carries that on. How far it may be off is `RETRAINED`, two to four times what two trainings of the four
networks of cifar10-object-v1 differed by at most (results/cifar10-object-v1/reproduced.txt).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mend.data.sources import load_images
from mend.errors import InputError
from mend.evaluate.metrics import METRICS
from mend.evaluate.protocol import protocol_from
from mend.evaluate.run import evaluate, read_summary
from mend.inpaint.classical import CLASSICAL
from mend.masks.draw import DRAWN
from mend.masks.store import MaskSet, from_npz
from mend.progress import sum_reports
from mend.segment.make import make_masks
from mend.segment.networks import SEGMENTERS
from mend.train.config import TrainConfig
from mend.train.run import train

EXACT = 0.002  # relative: libraries of other versions round in other places
RETRAINED = {
    "psnr": 0.25,
    "ssim": 0.006,
    "mae": 0.2,
    "lpips": 0.006,
    "lpips-alex": 0.006,
    "lpips-cifar": 0.006,
}  # in their units
RETRAINED_SETS = 0.2  # relative: a distance of sets follows the textures, which vary most
Progress = Callable[[str], Callable[[int, int], None]]  # a stage's name to what is called with (done, of) within it


@dataclass(frozen=True)
class Line:
    method: str
    metric: str
    old: float
    new: float
    tolerance: float

    @property
    def within(self) -> bool:
        return abs(self.new - self.old) <= self.tolerance


def reproduce(
    result: str | Path,
    out: str | Path,
    data: str | None = None,
    masks: str | None = None,
    device: str = "auto",
    progress: Progress = lambda stage: lambda done, of: None,
) -> list[Line]:
    """Do a result again under `out`, which may be gone on with; a line for each method and metric of the composited view.

    `data` and `masks` say where the images and the mask sets are, when not where the result has them; a network trained on
    crops goes to what it names itself. Masks that are not there are made: from the archives `*-train.npz` and `*-test.npz`
    in that folder, or as the result says they were. Raises InputError when something cannot be had, or is not what was used.
    """
    summary, out = read_summary(result), Path(out)
    protocol = protocol_from(summary["protocol"])
    trainings: dict[str, dict[str, Any] | None] = {n: m["model"].get("trained") for n, m in summary["methods"].items()}
    for name, trained in trainings.items():
        if trained is None and name not in CLASSICAL:
            raise InputError(f"{name} was not trained by mend: nothing says how to make it again.")
    judged: str | None = None
    if protocol.drawn is None:
        made = next(((t["masks"], t["config"]["masks"]) for t in trainings.values() if t and "mask_set" in t), None)
        places = [masks] if masks else [protocol.masks, *(made[1:] if made else ())]
        made_by = made[0] if made else "another program"
        judged = str(_masks(places, "test", data or protocol.data, protocol.size, made_by, out, device, progress))
    runs: list[str] = []
    for name, trained in trainings.items():
        if trained is None:
            runs.append(name)
            continue
        config = TrainConfig(**trained["config"])
        if config.crop is None:
            source, places = data or config.data, [masks or config.masks]
            where = _masks(places, "train", source, config.size, trained["masks"], out, device, progress)
            sealed = MaskSet.open(where / "train").manifest.sha256
            if sealed != trained["mask_set"]:
                raise InputError(
                    f"{where / 'train'} holds other masks ({sealed[:12]}) than {name} was trained with "
                    f"({trained['mask_set'][:12]})."
                )
            config = replace(config, data=source, masks=str(where))
        runs.append(str(train(config, out / "runs" / name, progress(f"train {name}"))))
    on_batch = sum_reports(progress("evaluate"), len(runs))
    scored = sorted({n for m in summary["methods"].values() for n in m["metrics_scored"]}, key=list(METRICS).index)
    protocol = replace(protocol, metrics=tuple(scored))
    new = read_summary(evaluate(runs, protocol, out / "result", data, judged, device=device, on_batch=on_batch))
    for what in ("n", "images", "mask_set"):
        if new[what] != summary[what]:
            raise InputError(f"this measured something else than {result}: {what} is {new[what]}, there it is {summary[what]}.")
    return _lines(summary, new)


def _masks(
    places: list[str], split: str, source: str, size: int | None, segmenter: str, out: Path, device: str, progress: Progress
) -> Path:
    """The folder of mask sets that has `split`: one of those named, or made under `out`, from an archive in one of them or as
    those on record were."""
    for place in map(Path, places):
        if (place / split / "manifest.json").exists():
            return place
    archive = next((file for place in places for file in sorted(Path(place).glob(f"*-{split}.npz"))), None)
    drawn = re.fullmatch(r"(\w+) coverage (\S+) seed (\d+)", segmenter)
    kind = drawn[1] if drawn else segmenter
    how: dict[str, Any] = {"coverage": float(drawn[2]), "seed": int(drawn[3])} if drawn else {}
    if archive is None and not (kind in SEGMENTERS or kind in DRAWN or kind.startswith("hf:")):
        raise InputError(
            f"the masks were made by {segmenter}, which mend cannot run. With --masks give the folder of the mask sets, "
            "or of their archives *-train.npz and *-test.npz."
        )
    images = load_images(source, "all" if split == "train" else "test", size)
    if archive is not None:
        from_npz(archive, images, segmenter, out / "masks" / split)
    else:
        make_masks(images, kind, out / "masks" / split, device, **how, on_batch=progress(f"masks {split}"))
    return out / "masks"


def _lines(old: dict[str, Any], new: dict[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for name, method in old["methods"].items():
        for metric in method["metrics_scored"]:
            before, after = (s["methods"][name]["metrics"].get(metric, {}).get("mean") for s in (old, new))
            if before is None or after is None:
                continue
            exact = name in CLASSICAL
            tolerance = EXACT * abs(before) if exact else RETRAINED.get(metric, RETRAINED_SETS * abs(before))
            tolerance = max(tolerance, 10.0 ** -METRICS[metric].digits)
            lines.append(Line(name, metric, before, after, tolerance))
    return lines
