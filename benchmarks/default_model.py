"""Put a trained pyramid into the box: half precision weights, its configuration, its graph, a model card, and the README's
first picture.

python -m mend train --recipe pyramid --data ../shared/data/photos --masks strokes,boxes,masks/cifar10
python benchmarks/default_model.py runs/pyramid-w48
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import load_file, save

from mend.cli.demo import fill_large
from mend.images import write_bytes
from mend.inpaint.onnx import DEFAULT, GRAPH
from mend.models.checkpoint import model_folder, read_config
from mend.models.export import export

MOST = 6_000_000  # bytes
RESULTS = Path(__file__).parent.parent / "results"

CARD = """\
# The network in the box

`pyramid`, width {width}: {weights:,} weights, {size:.1f} MB in half precision. One small residual U-Net that is applied at
every scale of a picture, from coarse to fine; see `mend/models/pyramid.py`.

- **Data**: {images} of the training images of BSDS500 (Arbeláez et al., 2011), random crops of
  {crop}×{crop} pixels, mirrored, shrunk by up to {zoom:g} times. BSDS500 is given for non-commercial research; ask its authors
  for more.
- **Holes**: {masks}.
- **Recipe**: `pyramid` ({epochs} epochs of {crops} crops a picture, batches of {batch_size}, Adam at {lr:g}, {schedule};
  {loss}), seed {seed}; {minutes:.0f} minutes on {device}, PyTorch {torch}, commit {commit}. PSNR on held-out crops
  {val_psnr:.2f} dB.
- **Learning curve**: `results/pyramid/metrics.csv`.
- **Measured**: `results/large-holes.json`, against classical fillers, on photographs that were not trained on.
- **Why so**: `results/pyramid/ablation.md`, short trainings that differ in one thing each. Many scales and photographs are what
  it owes most to; squared differences learn PSNR faster, and look worse.
- **`model.onnx`**: one scale as a graph for ONNX Runtime, which reads the weights from `model.safetensors`; made by
  `mend export mend/assets/pyramid -o mend/assets/pyramid/model.onnx`. `mend/inpaint/scales.py` has what goes around it.
- **Limits**: it continues what surrounds a hole: surfaces, edges, gradients. It does not invent things, and a hole that is much
  larger than the detail around it comes out smooth. Faces, text and regular patterns behind a hole do not come back.
"""

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path)
run = parser.parse_args().run

config = read_config(run)
weights = {name: value.half() for name, value in load_file(model_folder(run) / "model.safetensors").items()}
data = save(weights)
assert len(data) <= MOST, f"{len(data):,} bytes are more than the {MOST:,} that the box has room for"
trained = config["trained"]
recipe = trained["config"]
facts = {**recipe, **trained, **trained["validation"], "size": len(data) / 1e6, "minutes": trained["seconds"] / 60}
facts |= {
    "weights": sum(value.numel() for value in weights.values()),
    "loss": ", ".join(f"{weight:g} {name}" for name, weight in recipe["loss"].items()),
}
write_bytes(DEFAULT / "model.safetensors", data)
write_bytes(DEFAULT / "config.json", json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n")
export(DEFAULT, GRAPH)
write_bytes(DEFAULT / "README.md", CARD.format(**facts).encode())
write_bytes(RESULTS / "pyramid" / "metrics.csv", (run / "metrics.csv").read_bytes())
with TemporaryDirectory() as folder:
    write_bytes(RESULTS / "removed.png", fill_large(folder).read_bytes())
print(f"{DEFAULT.name}: {len(data):,} bytes")
