"""An ablation of the network `structure`: short trainings that differ from another in one thing each.

    python benchmarks/structure_ablation.py ../shared masks/cifar10

The first argument is a folder with `data/photos`, `data/photos-free` and `models/deeplabv3_mobilenet_v2_513`, the second a
folder of mask sets of CIFAR-10. Every variant is trained on as many crops, in --out, and goes on there when it was stopped.
Then all fill the same large holes in photographs that none has seen (see large_holes.py), beside the exact harmonic filling.
Writes results/structure/ablation.json, .csv (a row a filling) and .md, anew after each training.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from large_holes import Scene, device, measure, scenes
from pyramid_ablation import trained, write
from torch import Tensor

from mend.filling.load import load_filler
from mend.images import write_bytes
from mend.inpaint.filler import Filler
from mend.inpaint.scales import is_darker_half_first, mirror
from mend.models import MODELS
from mend.models.checkpoint import find_commit, load_model
from mend.models.filler import TorchFiller
from mend.models.pyramid import Pyramid, Residual
from mend.progress import Report, ignore

OUT = Path(__file__).parent.parent / "results" / "structure" / "ablation"
HOW = (" (BSDS500, val)", "on 17,640 crops,")
CROPS = {"crops": 6, "epochs": 2}  # of 1,470 photographs: 17,640
FEATURES = 0.05  # its gradient is then 0.6 of L1's (feature_weight.py)


class Dilated(Pyramid):
    """The second block at an eighth of the size sees twice as far, beyond the reach of tiles: it fills the picture at once."""

    tiles = (None,)

    def __init__(self, width: int) -> None:
        super().__init__(width)
        block = self.correct.middle[1]
        assert isinstance(block, Residual)
        for convolution in (block.first, block.second):
            convolution.dilation, convolution.padding = (2, 2), (2, 2)

    def fill(self, masked: Tensor, hole: Tensor, tile: int | None = None, report: Report = ignore) -> Tensor:
        over = is_darker_half_first(masked)
        return mirror(self.scales(mirror(masked, over), mirror(hole, over))[0], over)


MODELS["pyramid-dilated"] = Dilated


def variants(shared: Path, masks: Path) -> dict[str, dict[str, Any]]:
    """What each changes of the recipe."""
    free = {"data": str(shared / "data/photos-free"), "set_aside": 100, "masks": f"strokes,boxes,{masks}", **CROPS}
    network = str(shared / "models/deeplabv3_mobilenet_v2_513")
    sharp = {"loss": {"hole_l1": 1.0, "features": FEATURES}, "feature_network": network}
    return {
        "photographs of photos-free, L1": free,
        "relaxed prefill": {**free, "model": "structure"},
        "squares in place of absolute differences": {**free, "loss": {"hole_mse": 1.0}},
        "relaxed prefill, L1 and features": {**free, "model": "structure", **sharp},
        "logarithm of squares": {**free, "loss": {"hole_log_mse": 1.0}},
        "ramped and grown masks": {**free, "ramp": 1, "grow": 0.06},
        "width 32": {**free, "width": 32},
        "180 photographs of BSDS500": {**free, "data": str(shared / "data/photos"), "set_aside": 0, "crops": 49},
        "dilated context": {**free, "model": "pyramid-dilated"},
    }


def last(run: Path) -> Filler:
    """With the weights of the last step: in so short a training the moving average reaches back to the first ones."""
    network, config = load_model(run)
    state = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({name.removeprefix("network."): v for name, v in state.items() if name.startswith("network.")})
    return TorchFiller(network, device, config)


def measured(name: str, filler: Filler, shown: list[Scene], out: Path) -> pd.DataFrame:
    """A row for each filling; those of an earlier call are read."""
    file = out / "measured" / f"{name}.csv"
    if not file.exists():
        rows, _ = measure({name: filler}, shown)
        write_bytes(file, rows.to_csv(index=False).encode())
    return pd.read_csv(file, dtype={"photo": str})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--every", type=int, default=4, help="each so many-th photograph only")
    parser.add_argument("--out", type=Path, default=Path("runs/structure"))
    asked = parser.parse_args()
    changes, made_at = variants(asked.shared, asked.masks), find_commit()  # before its own files make the checkout another
    shown: list[Scene] = list(scenes(asked.shared / "data/photos/val", asked.masks / "test", asked.every))
    beside = {"harmonic": load_filler("harmonic"), "the network that comes with mend": load_filler(smooth=True)}
    parts = [measured(name, filler, shown, asked.out) for name, filler in beside.items()]
    for name, change in changes.items():
        run = trained(name, change, asked.out)
        parts.append(measured(name, last(run), shown, asked.out))
        rows = pd.concat(parts)
        names = list(dict.fromkeys(rows["method"]))
        write(OUT, rows, [*names[2:], *names[:2]], changes, made_at, *HOW)


if __name__ == "__main__":
    main()
