"""Whether a network does what its contract says: seen on a picture whose filling is known.

The picture is red, shades slowly, and a small part of it in the middle is missing: any network that fills holes fills that one
red, and one that is called the wrong way does something else that is easy to tell.

How far a network may be off stands between what right and wrong calls give. LaMa's graphs and MI-GAN's return known pixels as
they are. The four networks of `results/cifar10-object-v1/` paint them anew, and at a size that they were not trained for they
are off by 2 to 3 % of white on average; with the opposite mask, the two of them that look at it, by 27 to 33 %. On a picture
that is all of one strong colour another range is 31 % and more off, red for blue 46 %. In the hole the four are off by 11 to
15 % in the worst channel, and by 75 % with the opposite mask.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mend.errors import InputError
from mend.inpaint.contracts import Contract, grow_hole

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The network itself: its image and its mask to its output."""

KNOWN = 0.15  # by which known pixels may be off on average, white = 1
INSIDE = 0.25  # by which the mean colour of the hole may be off, in any channel
BEYOND = 0.25  # by which values may lie outside the output's range, in parts of it: convolutions overshoot
CLEARLY = 0.8  # where nobody says, BGR is taken only if it is off by less than this share of what RGB is off by
USUAL = 256  # pixels: the side of the picture, for a network that does not fix it

RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))


def probe(run: Run, contract: Contract, name: str, toml: str) -> Contract:
    """The contract, its order of colours settled. InputError where the network called `name` contradicts it.

    Takes one run, two where the colours are to be found out; a network that contradicts takes a few more, to say which key of
    the contract would have to be another.
    """
    image, hole = draw_scene(contract)

    def off(one: Contract, output: np.ndarray) -> float:
        return float((np.abs(one.decode(output) - image) * hole).sum())

    orders = ("RGB", "BGR") if contract.colours == "probe" else (contract.colours,)
    tried = [(one, run(*one.encode(image, hole))) for one in (replace(contract, colours=order) for order in orders)]
    contract, output = tried[0] if len(tried) == 1 or off(*tried[1]) >= CLEARLY * off(*tried[0]) else tried[1]
    wrong = _find_contradiction(contract, output, image, hole)
    if wrong is None:
        return contract
    for other, words in _vary_contract(contract):
        if _find_contradiction(other, run(*other.encode(image, hole)), image, hole) is None:
            raise InputError(f"{name} contradicts {toml}: {wrong}. With {words} it would fit; correct {toml} if that is so.")
    raise InputError(f"{name} contradicts {toml}: {wrong}. Compare {toml} with what those who made the network say of it.")


def draw_scene(contract: Contract) -> tuple[np.ndarray, np.ndarray]:
    """A red picture (1, 3, N, N) in [0, 1] and its hole (1, 1, N, N), as small as the network takes them."""
    side = min(contract.side, -(-USUAL // contract.step) * contract.step)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    red, green, blue = 0.85 - 0.15 * y, 0.2 + 0.1 * x, np.full_like(x, 0.08)
    hole = np.zeros((1, 1, side, side), np.float32)
    middle = slice(side // 2 - max(1, side // 32), side // 2 + max(1, side // 32))
    hole[..., middle, middle] = 1
    return np.stack([red, green, blue])[None], hole


def _find_contradiction(contract: Contract, output: np.ndarray, image: np.ndarray, hole: np.ndarray) -> str | None:
    """What an output contradicts, in words; None where it fits."""
    low, high = contract.output_range
    least, most = float(output.min()), float(output.max())
    if least < low - BEYOND * (high - low) or most > high + BEYOND * (high - low):
        return f"its output runs from {least:g} to {most:g}, not from {low:g} to {high:g}"
    raw = contract.decode(output)
    far = grow_hole(hole, max(2, hole.shape[-1] // 16))[0, 0] == 0
    known, inside = image[0][:, far], image[0][:, hole[0, 0] > 0].mean(1)
    found = raw[0][:, hole[0, 0] > 0].mean(1)
    if contract.keeps_known and (off := np.abs(raw[0][:, far] - known).mean()) > KNOWN:
        if np.abs(raw[0][::-1, far] - known).mean() <= KNOWN:
            return "a red picture comes back blue: its output has red and blue in another order than its input"
        return f"pixels that are known come back {100 * off:.0f} % of white off, on average"
    if np.abs(found - inside).max() > INSIDE:
        if np.abs(found[::-1] - inside).max() <= INSIDE:
            return "a hole in a red picture is filled blue"
        red, green, blue = (round(255 * float(level)) for level in found)
        return f"a hole in an even picture, red {255 * inside[0]:.0f}, is filled with ({red}, {green}, {blue})"
    return None


def _vary_contract(contract: Contract) -> Iterator[tuple[Contract, str]]:
    """Contracts that differ in one thing that is easily mistaken, and what would have to be written for each."""
    hole, known = contract.mask_hole, contract.mask_known
    yield replace(contract, mask_hole=known, mask_known=hole), f"mask_hole = {known:g} and mask_known = {hole:g}"
    for low, high in RANGES:
        yield replace(contract, output_range=(low, high)), f"output_range = [{low:g}, {high:g}]"
    if contract.dtype == "uint8":  # which holds no other range
        return
    for low, high in RANGES:
        yield replace(contract, image_range=(low, high)), f"image_range = [{low:g}, {high:g}]"
    for low, high in RANGES:
        both = f"image_range and output_range = [{low:g}, {high:g}]"
        yield replace(contract, image_range=(low, high), output_range=(low, high)), both
