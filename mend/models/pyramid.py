"""One small network that fills from coarse to fine: at every scale it corrects the filling of the scale below.

At the coarsest scale a large hole is a few pixels wide; at every finer one it is already filled, and what is left to do is
to add detail. So the same weights fill a hole of any size, and the network need not see far. Multiscale recursion with shared
weights: Nah et al., 2017, arXiv:1612.02177; Tao et al., 2018, arXiv:1802.01770. The average of the known pixels going up and
the blend coming down are the pull and push of Gortler et al., 1996, "The Lumigraph".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mend.images import composite, pad_to
from mend.progress import Report
from mend.tiles import tiles


class Residual(nn.Module):
    """Two 3×3 convolutions beside an identity. No norm: its statistics would tie a pixel to the whole picture and its scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(self.first(features).relu())


class Corrector(nn.Module):
    """The U-Net of one scale: (B, 7, H, W) to (B, 3, H, W), both multiples of 8; features are `width`@H/2, 2@H/4, 4@H/8."""

    stride = 8
    # Pixels seen around a tile. An output depends on what is up to 67 pixels away, but on nothing farther than 62 from its own
    # cell of 8×8; and tiles end where cells end.
    reach = 64

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Conv2d(7 * 4, width, 3, padding=1)
        self.encoder = nn.ModuleList([Residual(width), Residual(2 * width)])
        self.down = nn.ModuleList(nn.Conv2d(c * width, 2 * c * width, 2, stride=2) for c in (1, 2))
        self.middle = nn.Sequential(Residual(4 * width), Residual(4 * width))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * c * width, c * width, 2, stride=2) for c in (2, 1))
        self.decoder = nn.ModuleList([Residual(2 * width), Residual(width)])
        self.tail = nn.Conv2d(width, 3 * 4, 3, padding=1)
        nn.init.zeros_(self.tail.weight)  # it begins as the filling of the scale below, enlarged
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)

    def forward(self, seen: Tensor) -> Tensor:
        features = self.head(F.pixel_unshuffle(seen, 2))
        skips: list[Tensor] = []
        for block, down in zip(self.encoder, self.down, strict=True):
            features = block(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, block, skip in zip(self.up, self.decoder, reversed(skips), strict=True):
            features = block(up(features) + skip)
        return F.pixel_shuffle(self.tail(features), 2)


class Pyramid(nn.Module):
    """`(masked, hole) -> raw`, from coarse to fine, for any H and W.

    In evaluation a scale is worked through in tiles, and only those that miss something: the result is the same for any side
    of a tile (`Corrector.reach` is seen around each) and any number of threads, memory is bounded, and time follows the area
    that is looked at, not the number of holes. A picture is first mirrored so that its lighter half is above, and left: so the
    filling of a mirrored picture is the filling, mirrored.
    """

    stride = 1
    COARSEST = 8  # pixels: the longer side of the coarsest scale, at most
    TILE = 512  # pixels: a larger one would see less twice, and work on more that is not missing

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.correct = Corrector(width)
        self.memory = 12 * width

    def forward(self, masked: Tensor, hole: Tensor) -> Tensor:
        return self.scales(masked, hole)[0] if self.training else self.fill(masked, hole, self.TILE)

    def fill(self, masked: Tensor, hole: Tensor, side: int, report: Report = lambda done, of: None) -> Tensor:
        """`raw` in evaluation, worked through in tiles of `side` pixels, a multiple of 8; `report` counts pixels."""
        over = darker_half_first(masked)
        return mirrored(self.by_tiles(mirrored(masked, over), mirrored(hole, over), side, report), over)

    def scales(self, masked: Tensor, hole: Tensor) -> list[Tensor]:
        """`raw` at every scale, the finest first; each is half as large as the one before, odd sides rounded up."""
        levels, plane, contrast = self._levels(masked, hole)
        raws: list[Tensor] = []
        for colour, known in reversed(levels):
            guess = doubled(raws[-1], *colour.shape[-2:]) if raws else torch.zeros_like(colour)
            raws.append(self._refine(colour, known, guess, contrast))
        evenly = plane.rows + plane.columns
        for i in reversed(range(len(raws))):
            raws[i] = (raws[i] + evenly).clamp(0, 1)
            evenly = halved(evenly)
        return raws[::-1]

    def _levels(self, masked: Tensor, hole: Tensor) -> tuple[list[tuple[Tensor, Tensor]], "Plane", Tensor]:
        """(colour, known) of every scale, the finest first; the plane that was taken from the colours; their contrast.

        `known` is the share of a cell that is there; `colour` is the mean over the cell, missing pixels counted as 0.
        `contrast` (B, 1, 1, 1) is the standard deviation of the known colours from the plane.
        """
        known = 1 - hole
        plane = known_plane(masked, known)
        colour = plane.taken_from(masked, known)
        deviation = sums_of_squares(colour).sum(1) / (3 * sums(known, 3).sum((1, 2))).clamp(min=1)
        contrast = deviation.sqrt()[:, None, None, None].to(colour.dtype)
        levels = [(colour, known)]
        while max(levels[-1][1].shape[-2:]) > self.COARSEST:
            levels.append((halved(levels[-1][0]), halved(levels[-1][1])))
        return levels, plane, contrast

    def _blend(self, colour: Tensor, known: Tensor, guess: Tensor) -> Tensor:
        """The guess where pixels are missing, the colours elsewhere."""
        return colour + (1 - known) * guess

    def _refine(self, colour: Tensor, known: Tensor, guess: Tensor, contrast: Tensor) -> Tensor:
        """One scale: the guess blended in where pixels are missing, and corrected there."""
        base = self._blend(colour, known, guess)
        # In units of the picture's contrast: an even picture comes back as it is, a faint one is filled as a strong one is.
        unit = contrast.clamp(min=1e-3)
        seen = torch.cat([base / unit, (base - guess) / unit, 1 - known], dim=1)
        height, width = seen.shape[-2:]
        correction = self.correct(pad_to(seen, self.correct.stride))[..., :height, :width].float()
        return base + (1 - known) * contrast * correction

    def by_tiles(self, masked: Tensor, hole: Tensor, side: int, report: Report = lambda done, of: None) -> Tensor:
        """`raw` as `scales` gives it, tile by tile."""
        levels, plane, contrast = self._levels(masked, hole)
        work = [list(tiles(known.cpu().numpy(), side, self.correct.reach, self.correct.stride)) for _, known in levels]
        done, of = 0, sum(tile.pixels for scale in work for tile in scale)
        raw: Tensor | None = None
        while levels:
            colour, known = levels.pop()
            coarse, raw = raw, colour.clone()
            for tile in work.pop():
                seen = colour[(..., *tile.seen)]
                guess = torch.zeros_like(seen) if coarse is None else doubled_part(coarse, *tile.seen)
                with same_sums(seen):
                    refined = self._refine(seen, known[(..., *tile.seen)], guess, contrast)
                raw[(..., *tile.place)] = refined[(..., *tile.inner)]
                done += tile.pixels
                report(done, of)
        assert raw is not None
        return composite(masked, raw.add_(plane.rows).add_(plane.columns).clamp_(0, 1), hole)


@contextmanager
def same_sums(seen: Tensor) -> Iterator[None]:
    """One small image is worked on by one thread, so that the number of threads changes nothing of it.

    Over few pixels oneDNN divides a convolution's sums themselves between the threads, which rounds them otherwise: up to
    24×136 pixels where it was measured, with 64 threads. Over more it divides the pixels. The setting is the process's: another
    thread that meets PyTorch for the first time meanwhile keeps to one.
    """
    threads = torch.get_num_threads()
    if seen.device.type != "cpu" or len(seen) > 1 or seen[0, 0].numel() > 128 * 128 or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Plane(NamedTuple):
    """Colours that change evenly down and across: `rows` (B, 3, H, 1) and `columns` (B, 3, 1, W), to be added."""

    rows: Tensor
    columns: Tensor

    def taken_from(self, masked: Tensor, known: Tensor) -> Tensor:
        """What is left of the known colours; zeros where they are missing."""
        return (masked - self.rows).sub_(self.columns).mul_(known)


RIDGE = 0.03  # of the picture's sides squared; see `known_plane`


def known_plane(masked: Tensor, known: Tensor) -> Plane:
    """The plane nearest to the known colours; mid-grey where nothing is known.

    Slopes are held back by `RIDGE` times the share of the colours' variance that they do not explain: an even ramp goes on as
    it is, while a few known pixels at one side say little of the other (ridge regression, Hoerl and Kennard, 1970).
    """
    kind = _double(masked)
    height, width = known.shape[-2:]
    y, x = (
        ((torch.arange(n, device=masked.device, dtype=kind) + 0.5) / n - 0.5).expand(len(known), 1, n) for n in (height, width)
    )
    known_rows, known_columns = sums(known, 3), sums(known, 2)  # (B, 1, H) and (B, 1, W)
    rows, columns = sums(masked, 3), sums(masked, 2)  # (B, 3, H) and (B, 3, W)
    count = known_rows.sum(2)  # (B, 1)

    def mean(total: Tensor) -> Tensor:
        return total.sum(-1) / count.clamp(min=1)

    y, x = y - mean(known_rows * y)[..., None], x - mean(known_columns * x)[..., None]
    yy, xx = mean(known_rows * y**2), mean(known_columns * x**2)
    yx = mean(y * (known.to(kind) @ x[..., None])[..., 0])
    average, down, across = mean(rows), mean(rows * y), mean(columns * x)  # (B, 3)
    variance = (sums_of_squares(masked) / count.clamp(min=1) - average**2).sum(1, True)

    def slopes(ridge: Tensor) -> tuple[Tensor, Tensor]:
        a, c = yy + ridge, xx + ridge
        scale = a * c - yx**2
        return (c * down - yx * across) / scale, (a * across - yx * down) / scale

    # For pictures of one row, and for one known pixel: above what the sums are rounded by.
    least = torch.full_like(count, 1e-9 if kind == torch.float64 else 1e-5)
    by_y, by_x = slopes(least)
    explained = (by_y * down + by_x * across).sum(1, True) / variance.clamp(min=1e-12)
    by_y, by_x = slopes(least + RIDGE * (1 - explained.clamp(0, 1)))
    level = torch.where(count > 0, average, 0.5)
    return Plane(
        (level[..., None] + by_y[..., None] * y)[..., None].to(masked.dtype),
        (by_x[..., None] * x)[..., None, :].to(masked.dtype),
    )


def sums(image: Tensor, axis: int) -> Tensor:
    """Along one axis, in float64; channel by channel, since a large picture is copied for it."""
    return torch.stack([channel.sum(axis - 1, dtype=_double(image)) for channel in image.unbind(1)], 1)


def sums_of_squares(image: Tensor) -> Tensor:
    """Of each channel, (B, C); one by one, since the squares of a large picture take memory, and row by row: the sum of a whole
    picture would be divided between the threads."""
    return torch.stack([channel.square().sum(2, dtype=_double(image)).sum(1) for channel in image.unbind(1)], 1)


def _double(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # Apple's GPUs have no other


def darker_half_first(masked: Tensor) -> Tensor:
    """Whether the upper half of each image is darker than the lower one, and the left than the right: (B, 2), bool."""
    halves = []
    for axis in (2, 3):
        lines = sums(masked, 5 - axis).sum(1)
        middle = lines.shape[1] // 2
        halves.append(lines[:, :middle].sum(1) < lines[:, lines.shape[1] - middle :].sum(1))
    return torch.stack(halves, 1)


def mirrored(tensor: Tensor, over: Tensor) -> Tensor:
    """Images (B, C, H, W), each turned upside down and left to right where `over` (B, 2) says so."""
    for axis, which in ((2, over[:, 0]), (3, over[:, 1])):
        if which.any():
            flipped = tensor.flip(axis)
            tensor = flipped if which.all() else torch.where(which[:, None, None, None], flipped, tensor)
    return tensor


def halved(tensor: Tensor) -> Tensor:
    """Means of 2×2 cells; at an odd side the last cell has what there is."""
    return F.avg_pool2d(tensor, 2, ceil_mode=True, count_include_pad=False)


def doubled(coarse: Tensor, height: int, width: int) -> Tensor:
    """`coarse` at twice its size, bilinearly, cut to (height, width).

    As `F.interpolate` does, which rounds otherwise where a thread's share ends.
    """
    for axis in (2, 3):
        length = coarse.shape[axis]
        near = F.pad(coarse, (0, 0, 1, 1) if axis == 2 else (1, 1, 0, 0), "replicate")
        most = 0.75 * coarse
        sides = [most + 0.25 * near.narrow(axis, start, length) for start in (0, 2)]
        coarse = torch.stack(sides, axis + 1).flatten(axis, axis + 1)
    return coarse[..., :height, :width]


def doubled_part(coarse: Tensor, rows: slice, columns: slice) -> Tensor:
    """The rows and columns, from even ones on, of `coarse` at twice its size."""
    top, left = max(0, rows.start // 2 - 1), max(0, columns.start // 2 - 1)  # one cell more, which interpolation reads
    part = coarse[..., top : -(-rows.stop // 2) + 1, left : -(-columns.stop // 2) + 1]
    return doubled(part, rows.stop - 2 * top, columns.stop - 2 * left)[..., rows.start - 2 * top :, columns.start - 2 * left :]
