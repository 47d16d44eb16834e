"""The first five minutes: the whole experiment on photographs that come with the installation, and one large filling."""

import os
import sys
import webbrowser
from pathlib import Path

import numpy as np

from mend.data.photos import LARGE, find_skimage_folder
from mend.data.sources import load_images
from mend.evaluate.protocol import read_protocol
from mend.evaluate.run import evaluate
from mend.filling.inpainter import load
from mend.images import Picture, mask_out, read_image, to_pixels, write_image
from mend.inpaint.classical import CLASSICAL
from mend.models import REFERENCE
from mend.progress import progress, split_report, sum_reports
from mend.report import report
from mend.segment.make import make_masks
from mend.train.config import TrainConfig
from mend.train.run import train

EPOCHS, WIDTH = 6, 8
REMOVED = ((112, 330, 298, 346), (330, 400, 282, 352))  # of LARGE: top, bottom, left, right, in pixels
# How long each stage takes on two cores, in seconds, in their order; the bar adds them up.
SECONDS = {
    "masks train": 16, "masks test": 4,
    "autoencoder": 22, "unet": 24, "unet-simple": 41, "unet-aspp": 58,
    "evaluate": 15, "report": 2, "fill": 1,
}  # fmt: skip
NOTE = """\
These networks are very small and saw five photographs for a minute: classical fillers still beat them here. On all of CIFAR-10
the three U-Nets are ahead; docs/results.md has that table, and says what it supports. The large photograph was filled by the
network that comes with mend."""


def run(out: Path, open_report: bool) -> None:
    """Masks, four networks, evaluation, report and one large filling, all under `out`; what is there is not made again."""
    with progress("demo", "%") as report_percent:
        (in_percent,) = split_report(report_percent, [100])
        stages = dict(zip(SECONDS, split_report(in_percent, list(SECONDS.values())), strict=True))
        in_percent(0, 1)
        for name in ("train", "test"):
            images = load_images("photos", "all" if name == "train" else name)
            make_masks(images, "felzenszwalb", out / "masks" / name, on_batch=stages[f"masks {name}"])
        runs: list[str] = []
        for model in REFERENCE:
            config = TrainConfig(
                "photos", str(out / "masks"), model, WIDTH, epochs=EPOCHS, batch_size=32, lr=2e-3, schedule="cosine"
            )
            runs.append(str(train(config, out / "runs" / model, stages[model])))
        methods = [*runs, *CLASSICAL]
        protocol = read_protocol("photos-object-v1")
        metrics, on_batch = ["psnr", "ssim", "mae"], sum_reports(stages["evaluate"], len(methods))
        evaluate(methods, protocol, out / "result", masks=str(out / "masks"), metrics=metrics, on_batch=on_batch)
        page = report(out / "result", out / "report")
        stages["report"](1, 1)
        filled = fill_large(out / "large")
        stages["fill"](1, 1)
    print(f"report   {page}\nlarge    {filled}\nnext     mend fill PHOTO --mask MASK\n\n{NOTE}")
    if open_report and sys.stdout.isatty() and (os.environ.get("DISPLAY") or sys.platform in ("darwin", "win32")):
        webbrowser.open(page.resolve().as_uri())


def fill_large(out: str | Path) -> Path:
    """Take the rocket out of a photograph, with the network that comes with mend.

    Writes the photograph, its mask, the result, and one picture of all three under `out`; returns the last one's path.
    """
    out, picture = Path(out), read_image(find_skimage_folder() / LARGE)
    hole = np.zeros((1, 1, *picture.pixels.shape[:2]), np.float32)
    for top, bottom, left, right in REMOVED:
        hole[..., top:bottom, left:right] = 1
    filled = load().fill_picture(picture, hole)
    masked = Picture(to_pixels(mask_out(picture.image(), hole) + hole)[0])  # the hole is white, as in a mask
    write_image(out / "photo.png", picture)
    write_image(out / "mask.png", to_pixels(hole)[0])
    write_image(out / "filled.png", filled)
    write_image(out / "large.png", np.concatenate([p.pixels for p in (picture, masked, filled)], axis=1))
    return out / "large.png"
