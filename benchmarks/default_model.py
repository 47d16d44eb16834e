"""Make a trained network the one that comes with mend: write its weights in half precision, its configuration, its ONNX file
and its model card.

python -m mend train --recipe structure --data ../shared/data/photos-free --masks strokes,boxes,marks,masks/cifar10
python benchmarks/default_model.py runs/structure-w48 --data ../shared/data/photos-free

Where a training started with the weights of another (--start), name all of them, the first one first: the weights of the last
are taken. results/structure/photographs.csv lists what it was trained on: file, SHA-256, source and licence of each photograph.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save

from mend.data.sources import set_aside
from mend.images import find_pictures, write_bytes
from mend.inpaint.folder import require_model
from mend.inpaint.onnx import DEFAULT, GRAPH
from mend.models.export import export

MOST = 6_000_000  # bytes
RESULTS = Path(__file__).parent.parent / "results"

CARD = """\
# The network that comes with mend

`{model}`, width {width}: one small residual U-Net with {weights:,} weights, {size:.1f} MB in half precision. mend applies it at
every scale of a picture, from coarse to fine. The network is in `mend/models/pyramid.py`, the loop over the scales in
`mend/inpaint/scales.py`.

- **Training data**: {images} photographs, as random crops, mirrored at random. A tenth as many served for validation.
  {set_aside} more, those with the smallest SHA-256, are kept for the protocol `photos-free-test`.
  `results/structure/photographs.csv` lists every photograph with its source and licence:

{sources}

- **Holes**: {masks}.
- **Training**: {stages}, with Adam, a moving average of the weights ({ema:g}), and seed {seed}:

{table}

  The recipe `structure` trains such a network from fresh weights; `benchmarks/gpu_structure.py` does so on a GPU.
- **Learning curve**: `results/structure/metrics.csv`, of the last row.
- **Scores**: `results/large-holes.json`, beside classical methods, on photographs that the network was not trained on.
- **Ablation**: `results/structure/ablation.md` compares short trainings that differ in one thing each.
- **`model.onnx`**: the network of one scale for ONNX Runtime, which reads the weights from `model.safetensors`. Made by
  `mend export mend/assets/structure -o mend/assets/structure/model.onnx`.
- **Limits**: the network continues the surfaces, edges and gradients around a hole. It does not invent things. A hole that is
  much larger than the detail around it becomes smooth. It cannot restore a face, text or a regular pattern behind the hole.
"""

UNCHECKED = "of the repository; the photographers' rights were not checked"
SOURCES = {  # of the folders of the training data, with the licence of each
    "clothing": ("alexeygrigorev/clothing-dataset", "CC0 1.0"),
    "wallpapers": (
        "pop-os/wallpapers, elementary/wallpapers, Debian's mate-backgrounds and plasma-workspace-wallpapers",
        "public domain as their READMEs say; Debian's under free licences, CC BY-SA among them",
    ),
    "coelho": ("luispedro/BuildingMachineLearningSystemsWithPython, SimpleImageDataset", "MIT"),
    "osie": ("NUS-VIP/predicting-human-gaze-beyond-pixels", f"MIT, {UNCHECKED}"),
    "crowd": ("NUS-VIP/saliency-in-crowd", f"MIT, {UNCHECKED}"),
    "street": ("bearpaw/clothing-co-parsing", f"Apache-2.0, {UNCHECKED}"),
}


def photographs(data: Path, kept: int) -> pd.DataFrame:
    """A row for each photograph that was trained or validated on."""
    there = find_pictures(data)
    aside = set(set_aside(there, kept))
    rows = []
    for file in there:
        if file not in aside:
            name = file.relative_to(data)
            source, licence = SOURCES[name.parts[0]]
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            rows.append({"file": name.as_posix(), "sha256": digest, "source": source, "licence": licence})
    return pd.DataFrame(rows)


def sources(listed: pd.DataFrame) -> str:
    """The table of the card."""
    count = listed["file"].str.split("/").str[0].value_counts()
    rows = [f"  | {count[folder]} | {source} | {licence} |" for folder, (source, licence) in SOURCES.items()]
    return "\n".join(["  | photographs | source | licence |", "  | ---: | :--- | :--- |", *rows])


def read_record(run: Path) -> dict[str, Any]:
    """All that is in a run's config.json, more than `read_config` knows."""
    return json.loads((require_model(run) / "config.json").read_text(encoding="utf-8"))


def describe(trained: dict[str, Any]) -> dict[str, str]:
    """A row of the card: one training."""
    recipe = trained["config"]
    # A run records its epochs, benchmarks/gpu_structure.py its steps.
    by_epochs = "steps" not in trained
    crops = trained["epoch"] * recipe["crops"] * trained["images"] if by_epochs else recipe["batch_size"] * trained["steps"]
    shrunk = f", shrunk up to {recipe['zoom']:g} times" if recipe["zoom"] > 1 else ""
    held = f"constant for {trained['hold']:.0%}, then " if trained.get("hold") else ""
    return {
        "crops": f"{crops:,} of {recipe['crop']}×{recipe['crop']}{shrunk}",
        "loss": ", ".join(f"{weight:g} {name}" for name, weight in recipe["loss"].items()),
        "learning rate": f"{recipe['lr']:g}, {held}{recipe['schedule']}",
        "batch": str(recipe["batch_size"]),
        "minutes": f"{trained['seconds'] / 60:.0f}",
        "device": trained["device"],
        "PyTorch": trained["torch"],
        "commit": trained["commit"],
    }


def without_places(trained: dict[str, Any]) -> dict[str, Any]:
    """The record without where on that machine things lay."""
    recipe = dict(trained["config"])
    for name in ("start", "feature_network", "data"):
        recipe[name] = recipe[name] and Path(recipe[name]).name
    recipe["masks"] = ",".join(Path(part).name for part in recipe["masks"].split(","))
    return {**trained, "config": recipe, **{name: Path(trained[name]).name for name in ("data", "start") if name in trained}}


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, nargs="+")
parser.add_argument("--data", type=Path, required=True)
asked = parser.parse_args()
run = asked.run[-1]

config = read_record(run)
weights = {name: value.half() for name, value in load_file(require_model(run) / "model.safetensors").items()}
data = save(weights)
assert len(data) <= MOST, f"{len(data):,} bytes are more than the {MOST:,} that mend has room for"
stages = [without_places(read_record(stage)["trained"]) for stage in asked.run]
trained = stages[-1]
listed = photographs(asked.data, trained["config"]["set_aside"])
rows = [describe(stage) for stage in stages]
table = ["| " + " | ".join(row) + " |" for row in (rows[0], [":---"] * len(rows[0]), *(row.values() for row in rows))]
facts = {**trained["config"], **trained, "size": len(data) / 1e6, "sources": sources(listed)}
holes = trained["masks"].replace(
    "deeplabv3-mobilenet-v2-513-quantized, borrowed", "silhouettes that DeepLabV3 found in CIFAR-10, enlarged,"
)
facts |= {"masks": holes}
facts |= {"stages": f"{len(stages)} trainings, one after the other" if len(stages) > 1 else "one training"}
facts |= {"table": "\n".join(f"  {row}" for row in table), "weights": sum(value.numel() for value in weights.values())}
config["trained"] = trained | ({"before": stages[:-1]} if len(stages) > 1 else {})
write_bytes(DEFAULT / "model.safetensors", data)
write_bytes(DEFAULT / "config.json", json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n")
export(DEFAULT, GRAPH)
write_bytes(DEFAULT / "README.md", CARD.format(**facts).encode())
write_bytes(RESULTS / "structure" / "metrics.csv", (run / "metrics.csv").read_bytes())
write_bytes(RESULTS / "structure" / "photographs.csv", listed.to_csv(index=False).encode())
print(f"{DEFAULT.name}: {len(data):,} bytes")
