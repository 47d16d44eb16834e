"""Put a trained pyramid into the box: half precision weights, its configuration, its graph, a model card, and the README's
first picture.

python -m mend train --recipe structure --data ../shared/data/photos-free --masks strokes,boxes,masks/cifar10
python benchmarks/default_model.py runs/structure-w48

--data names the photographs where the run had a packed copy of them (gpu_structure.py). results/pyramid/photographs.csv lists
what it was trained on: file, SHA-256, source and licence of each photograph.
"""

import argparse
import hashlib
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from safetensors.torch import load_file, save

from mend.checkpoint import model_folder, read_config
from mend.data import set_aside
from mend.demo import fill_large
from mend.export import export
from mend.images import picture_files, write_bytes
from mend.light import DEFAULT, GRAPH

MOST = 6_000_000  # bytes
RESULTS = Path(__file__).parent.parent / "results"

CARD = """\
# The network in the box

`{model}`, width {width}: {weights:,} weights, {size:.1f} MB in half precision. One small residual U-Net that is applied at
every scale of a picture, from coarse to fine; see `mend/models/pyramid.py`
and `mend/models/structure.py`.

- **Data**: {images} photographs, random crops of {crop}×{crop} pixels, mirrored, shrunk by up to {zoom:g} times; a tenth as
  many were validated on. {set_aside} more, those of the smallest SHA-256, are kept for the protocol `photos-free-test`. Each is
  listed with its source and licence in `results/pyramid/photographs.csv`:

{sources}

- **Holes**: {masks}.
- **Recipe**: `{recipe}` ({epochs} epochs of {crops} crops a picture, batches of {batch_size}, Adam at {lr:g}, {schedule};
  {loss}), seed {seed}; {minutes:.0f} minutes on {device}, PyTorch {torch}, commit {commit}. PSNR on held-out crops
  {val_psnr:.2f} dB.
- **Learning curve**: `results/pyramid/metrics.csv`.
- **Measured**: `results/large-holes.json`, against classical fillers, on photographs that were not trained on.
- **Why so**: `results/structure/ablation.md`, short trainings that differ in one thing each.
- **`model.onnx`**: one scale as a graph for ONNX Runtime, which reads the weights from `model.safetensors`; made by
  `mend export mend/assets/pyramid -o mend/assets/pyramid/model.onnx`. `mend/light.py` has what goes around it.
- **Limits**: it continues what surrounds a hole: surfaces, edges, gradients. It does not invent things, and a hole that is much
  larger than the detail around it comes out smooth. Faces, text and regular patterns behind a hole do not come back.
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
    there = picture_files(data)
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


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path)
parser.add_argument("--data", type=Path)
asked = parser.parse_args()
run = asked.run

config = read_config(run)
weights = {name: value.half() for name, value in load_file(model_folder(run) / "model.safetensors").items()}
data = save(weights)
assert len(data) <= MOST, f"{len(data):,} bytes are more than the {MOST:,} that the box has room for"
trained = config["trained"]
recipe = trained["config"]
listed = photographs(asked.data or Path(recipe["data"]), recipe["set_aside"])
facts = {**recipe, **trained, **trained["validation"], "size": len(data) / 1e6, "minutes": trained["seconds"] / 60}
facts |= {"sources": sources(listed), "recipe": "structure-sharp" if "features" in recipe["loss"] else "structure"}
facts |= {
    "weights": sum(value.numel() for value in weights.values()),
    "loss": ", ".join(f"{weight:g} {name}" for name, weight in recipe["loss"].items()),
}
write_bytes(DEFAULT / "model.safetensors", data)
write_bytes(DEFAULT / "config.json", json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n")
export(DEFAULT, GRAPH)
write_bytes(DEFAULT / "README.md", CARD.format(**facts).encode())
write_bytes(RESULTS / "pyramid" / "metrics.csv", (run / "metrics.csv").read_bytes())
write_bytes(RESULTS / "pyramid" / "photographs.csv", listed.to_csv(index=False).encode())
with TemporaryDirectory() as folder:
    write_bytes(RESULTS / "removed.png", fill_large(folder).read_bytes())
print(f"{DEFAULT.name}: {len(data):,} bytes")
