"""How much the loss term `features` pulls beside L1: the norm of its gradient over that of L1's, by the weights of a network.

    python benchmarks/feature_weight.py ../shared masks/cifar10 [--model runs/structure/...]

A weight of half the inverse gives it half of L1's gradient. Without --model the network that comes with mend is asked.
"""

import argparse
from pathlib import Path

import torch

from mend.data.loaders import draw_epoch_rows
from mend.images import mask_out
from mend.inpaint.onnx import DEFAULT
from mend.models.checkpoint import load_model
from mend.train.config import TrainConfig, read_recipe
from mend.train.losses import make_terms, weigh_scales
from mend.train.module import CropData

BATCHES = 20

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("shared", type=Path)
parser.add_argument("masks", type=Path)
parser.add_argument("--model", type=Path)
asked = parser.parse_args()

recipe = {**read_recipe("structure"), "loss": {"hole_l1": 1.0}}
config = TrainConfig(str(asked.shared / "data/photos-free"), f"strokes,boxes,{asked.masks}", **recipe)
data = CropData(config)
terms = make_terms(str(asked.shared / "models/deeplabv3_mobilenet_v2_513"))
network, _ = load_model(asked.model or DEFAULT)
weights = list(network.train().requires_grad_(True).parameters())
rows = data.rows["train"][draw_epoch_rows(len(data.rows["train"]), config.seed, 0, config.batch_size)]
ratios = []
for image, hole in data._loader(rows[: BATCHES * config.batch_size], config.epochs):
    norms = {}
    for term in ("hole_l1", "features"):
        with torch.autocast("cpu", torch.bfloat16):
            loss, _ = weigh_scales({term: 1.0}, network.scales(mask_out(image, hole), hole), image, hole, terms)
        norms[term] = torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)]).norm().item()
    ratios.append(norms["features"] / norms["hole_l1"])
found = torch.tensor(ratios)
print(f"features / L1: {found.mean():.1f} ± {found.std():.1f} over {BATCHES} batches; half of L1's at {0.5 / found.mean():.3f}")
