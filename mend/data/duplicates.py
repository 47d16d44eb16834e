"""Near-duplicates between test and training images: found by correlating detail, listed, and left out by content.

What is compared is detail: each colour channel less its mean over 5×5 pixels. In their pixels any two pictures of a sky above
a sea are alike, with correlations up to 0.96; in their detail only copies are, even where brightness, contrast or tint was
changed.

The threshold was chosen by one viewer, who looked at pairs of CIFAR-10, one for each test image. About 310 of the 333 pairs at
0.75 and above show the same picture: about 254 of the 262 at 0.80 and above. Of the 58 from 0.70 to 0.75 about 36 do. Most of
the wrong pairs are two ships on a horizon, or two aeroplanes or frames on a plain ground. No list is complete: a copy that was
moved by more than two pixels, or scaled, is not found.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from mend.data.loaders import to_image
from mend.data.sources import Images, hash_content
from mend.errors import InputError
from mend.images import encode_pil, write_bytes
from mend.progress import Report, ignore

THRESHOLD = 0.75
CANDIDATE = 0.35  # at half size; down to 0.30 there lie 3 % more test images, for three times the work
FLAT = 1 / 255  # detail of less than one level, root mean square, is noise: it counts as one level
SIDE = 32  # larger images are reduced to it; the other lengths are for images of this side
SHIFT = 2  # pixels that a copy may lie off, in either direction
BLOCK = 2000  # images; the product of two blocks is 16 MB
PAIRS = 256  # compared at a time, so that they stay in the processor's cache
SMALLEST = 8  # pixels: below, no detail is left between the shifts
ACROSS, DOWN = 15, 4  # pairs in the contact sheet, at most
COLUMNS = ["image", "test_row", "train_row", "similarity", "mirrored", "train_images"]


def find_near_duplicates(test: Images, train: Images, threshold: float = THRESHOLD, on_batch: Report = ignore) -> pd.DataFrame:
    """The test images that have a near-duplicate among the training images, most similar first.

    A row each: `image` (`hash_content`), `test_row` and `train_row` (positions of it and of its most similar training image),
    `similarity`, `mirrored` (the training image matches left to right), `train_images` (how many reach `threshold`).

    The similarity is the correlation of the detail of all channels together, the largest over shifts by up to 2 pixels of 32
    and over mirroring. Only what correlates by more than 0.35 at half size is compared so; a copy that is shifted and has
    nothing but fine detail may not. Plain areas are like nothing.

    Raises InputError for unequal sizes, images under 8×8, or a threshold that is not over 0.35 and at most 1.
    The subject, and CIFAR-10's duplicates: Barz & Denzler, 2020, arXiv:1902.00423.
    """
    _check(test, train, threshold)
    halves = torch.cat([_shrink_detail(_extract_detail(test.pixels[i : i + BLOCK])) for i in range(0, len(test), BLOCK)])
    found = []
    for start in range(0, len(train), BLOCK):
        detail = _extract_detail(train.pixels[start : start + BLOCK])
        for mirrored in (False, True):
            other = detail.flip(-1) if mirrored else detail
            half = _shrink_detail(other).T
            for first in range(0, len(test), BLOCK):
                for pairs in (halves[first : first + BLOCK] @ half > CANDIDATE).nonzero().split(PAIRS):
                    rows, others = first + pairs[:, 0].numpy(), pairs[:, 1]
                    similarity = _correlate(_extract_detail(test.pixels[rows]), other[others]).double().numpy().round(4)
                    table = {"test_row": rows, "train_row": start + others.numpy(), "similarity": similarity}
                    found.append(pd.DataFrame(table)[similarity >= threshold].assign(mirrored=mirrored))
        on_batch(min(start + BLOCK, len(train)), len(train))
    return _group_by_test_image(pd.concat(found), test)


def read_list(file: str | Path) -> set[str]:
    """The hashes, by `hash_content`, of the test images that a list of near-duplicates names.

    Raises InputError when there is no such file or it is no such list.
    """
    try:
        images = pd.read_csv(file, usecols=["image"], dtype=str, keep_default_na=False)["image"]
    except FileNotFoundError:
        raise InputError(
            f"there is no list of near-duplicates {file}. Make it with 'mend duplicates' and `out=\"{file}\"`."
        ) from None
    except (ValueError, OSError) as error:  # no such column, no text, no table, a folder
        raise InputError(f"{file} is no list of near-duplicates ({error}). Expected what 'mend duplicates' wrote.") from error
    wrong = images[~images.str.fullmatch("[0-9a-f]{16}")]
    if len(wrong):
        raise InputError(
            f"{file} is no list of near-duplicates: an image is {wrong.iloc[0]!r}; expected 16 hexadecimal digits. "
            "Make it again with 'mend duplicates'."
        )
    return set(images)


def write_list(table: pd.DataFrame, test: Images, train: Images, file: Path) -> Path:
    """Write what `find_near_duplicates` found as CSV, and a contact sheet of its pairs beside it, whose path is returned."""
    write_bytes(file, table.to_csv(index=False, float_format="%.4f", lineterminator="\n").encode())
    picture = file.with_suffix(".png")
    write_bytes(picture, encode_pil(contact_sheet(table, test, train), "PNG", optimize=True))
    return picture


def contact_sheet(table: pd.DataFrame, test: Images, train: Images) -> Image.Image:
    """Pairs evenly spread over the list: similarity, test image, training image below it, turned where it is mirrored."""
    pairs = table.iloc[np.linspace(0, len(table) - 1, min(ACROSS * DOWN, len(table))).astype(np.int64)]
    scale = max(1, 64 // test.size[0])
    height, width = (side * scale for side in test.size)
    gap, line = 6, 14
    cell = 2 * height + line + gap
    sheet = Image.new("RGB", (ACROSS * (width + gap) + gap, max(1, -(-len(pairs) // ACROSS)) * cell + gap), "white")
    for i, pair in enumerate(pairs.itertuples()):
        left, top = gap + i % ACROSS * (width + gap), gap + i // ACROSS * cell
        ImageDraw.Draw(sheet).text((left, top), f"{pair.similarity:.3f}{' <>' if pair.mirrored else ''}", fill="black")
        like = train.pixels[pair.train_row]
        for pixels, y in (
            (test.pixels[pair.test_row], top + line),
            (like[:, ::-1] if pair.mirrored else like, top + line + height),
        ):
            picture = Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, y))
    return sheet


def _check(test: Images, train: Images, threshold: float) -> None:
    if test.size != train.size:
        (h, w), (height, width) = test.size, train.size
        raise InputError(
            f"the test images are {w}×{h}, the training images {width}×{height} (width×height); near-duplicates are found "
            "between images of one size. Scale both with `size`."
        )
    if min(test.size) < SMALLEST:
        raise InputError(f"the images are {test.size[1]}×{test.size[0]}; expected {SMALLEST}×{SMALLEST} pixels or more.")
    if not CANDIDATE < threshold <= 1:
        raise InputError(f"the threshold is {threshold}; expected over {CANDIDATE} and at most 1, such as {THRESHOLD}.")


def _extract_detail(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) as detail (N, 3, h − 1, w − 1), h and w at most 32."""
    height, width = pixels.shape[1:3]
    image = F.adaptive_avg_pool2d(to_image(np.array(pixels)), (min(SIDE, height), min(SIDE, width)))
    image = F.avg_pool2d(image, 2, 1)  # what compression does to single pixels, and shifts by half of one
    return image - F.avg_pool2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), 5, 1)


def _shrink_detail(detail: Tensor) -> Tensor:
    """Detail at half size as vectors (N, D), whose products are their correlations."""
    vectors = F.avg_pool2d(detail, 2).flatten(1)
    return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(FLAT * vectors.shape[1] ** 0.5)


def _correlate(one: Tensor, other: Tensor) -> Tensor:
    """The largest correlation (N,) of the middle of `one` with an equally large part of `other`, both (N, 3, h, w)."""
    height, width = (side - 2 * SHIFT for side in one.shape[-2:])
    middle = one[..., SHIFT:-SHIFT, SHIFT:-SHIFT]
    floor = FLAT * middle.shape[1:].numel() ** 0.5
    squares = F.avg_pool2d((other * other).sum(1, keepdim=True), (height, width), 1, divisor_override=1)
    norms = squares[:, 0].clamp_min(0).sqrt().clamp_min(floor)
    products = torch.stack(
        [
            torch.stack([(middle * other[..., y : y + height, x : x + width]).sum((1, 2, 3)) for x in range(2 * SHIFT + 1)], 1)
            for y in range(2 * SHIFT + 1)
        ],
        1,
    )
    return (products / norms).amax((1, 2)) / middle.flatten(1).norm(dim=1).clamp_min(floor)


def _group_by_test_image(pairs: pd.DataFrame, test: Images) -> pd.DataFrame:
    """One row a test image, of all its pairs above the threshold."""
    order = pairs.sort_values(["similarity", "test_row", "train_row", "mirrored"], ascending=[False, True, True, True])
    order = order.drop_duplicates(["test_row", "train_row"])  # a symmetric image matches both ways
    best = order.drop_duplicates("test_row").reset_index(drop=True)
    best["train_images"] = best["test_row"].map(order["test_row"].value_counts())
    best["image"] = [hash_content(test.pixels[row]) for row in best["test_row"]]
    return best[COLUMNS]
