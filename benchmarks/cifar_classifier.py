"""Train the classifier behind `fid-cifar` and `lpips-cifar`, and write its weights and what they were measured to do.

    python benchmarks/cifar_classifier.py ../shared/data/cifar10

Writes mend/assets/cifar-classifier.safetensors and results/cifar-classifier.json. All 50,000 training images; the test
images are looked at once, at the end. The schedule is airbench's (arXiv:2404.00498) without its test-time augmentation.
"""

import argparse
import json
import time
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mend.data.loaders import to_image
from mend.data.random import permutation, uniform
from mend.data.sources import Images, load_images
from mend.models.checkpoint import find_commit
from mend.models.classifier import WEIGHTS, Classifier, load_classifier
from mend.models.device import device_name, has_bf16

EPOCHS, BATCH, PEAK, DECAY, MOMENTUM, SMOOTHING = 24, 500, 0.4, 5e-4, 0.9, 0.2
SHIFT, CUTOUT = 3, 8  # pixels


class Training(pl.LightningModule):
    def __init__(self, patches: Tensor) -> None:
        super().__init__()
        self.network = Classifier()
        whiten_from(self.network, patches)
        self.average = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(0.995), use_buffers=True)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        image, label = batch
        loss = F.cross_entropy(
            self.network(image.contiguous(memory_format=torch.channels_last)), label, label_smoothing=SMOOTHING
        )
        if index == 0:
            print(f"epoch {self.current_epoch} loss {loss.item():.3f} {time.strftime('%X')}", flush=True)
        return loss

    def on_train_batch_end(self, *_: object) -> None:
        self.average.update_parameters(self.network)

    def configure_optimizers(self) -> dict[str, object]:
        weights = [p for p in self.network.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(weights, lr=PEAK, momentum=MOMENTUM, nesterov=True, weight_decay=DECAY)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK, steps, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False, div_factor=10
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def whiten_from(network: Classifier, image: Tensor) -> None:
    """Set the first layer to the principal directions of 2×2 patches at unit variance, each with both signs."""
    normal = (image - network.mean) / network.deviation
    patches = F.unfold(normal, 2).transpose(1, 2).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(torch.cov(patches.T.double()))
    filters = (vectors / (values + 5e-4).sqrt()).T.flip(0).reshape(12, 3, 2, 2).float()
    network.whiten[0].weight.data.copy_(torch.cat([filters, -filters]))
    network.whiten[0].bias.data.zero_()
    network.whiten.requires_grad_(False)
    for stage in network.stages:  # the second convolutions begin as the identity, so that depth does no harm at first
        nn.init.dirac_(stage[1][0].weight)


class Epochs:
    """Shuffled batches of shifted, mirrored and cut images; an image's mirror alternates from epoch to epoch."""

    def __init__(self, images: Images) -> None:
        self.image = F.pad(to_image(np.array(images.pixels)), (SHIFT,) * 4, mode="reflect")
        self.label, self.epoch = torch.from_numpy(images.labels), -1

    def __len__(self) -> int:
        return len(self.label) // BATCH

    def __iter__(self):
        self.epoch += 1
        count = len(self.label)
        order = permutation(count, 1, self.epoch)
        shift = (uniform(2 * count, 2, self.epoch) * (2 * SHIFT + 1)).astype(int).reshape(2, count)
        cut = (uniform(2 * count, 3, self.epoch) * (32 + CUTOUT) - CUTOUT).astype(int).reshape(2, count)
        mirrored = (uniform(count, 4) > 0.5) ^ bool(self.epoch % 2)
        grid = np.arange(32)
        for start in range(0, count - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            y, x = (shift[i, rows, None] + grid for i in (0, 1))
            x = np.where(mirrored[rows, None], x[:, ::-1], x)
            image = self.image[rows[:, None, None], :, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
            inside = [(grid >= cut[i, rows, None]) & (grid < cut[i, rows, None] + CUTOUT) for i in (0, 1)]
            hole = torch.from_numpy(inside[0][:, None, :, None] & inside[1][:, None, None, :])
            yield image.masked_fill(hole, 0.47), self.label[rows]


@torch.inference_mode()
def accuracy(network: nn.Module, images: Images) -> float:
    correct = [
        network(to_image(np.array(images.pixels[i : i + 500]))).argmax(1) == torch.from_numpy(images.labels[i : i + 500])
        for i in range(0, len(images), 500)
    ]
    return round(torch.cat(correct).float().mean().item(), 4)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", help="a source of CIFAR-10, such as cifar10 or a local copy")
data = parser.parse_args().data

if __name__ == "__main__":
    pl.seed_everything(0)
    train = load_images(data, "all")
    training = Training(to_image(np.array(train.pixels[:5000])))
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        precision="bf16-mixed" if has_bf16() else "32-true",
        accelerator="auto",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    started = time.perf_counter()
    training.to(memory_format=torch.channels_last)
    trainer.fit(training, Epochs(train))
    seconds = time.perf_counter() - started

    averaged = training.average.module.eval().float().cpu()
    weights = {name: value.half() if value.is_floating_point() else value for name, value in averaged.state_dict().items()}
    WEIGHTS.parent.mkdir(exist_ok=True)
    save_file({name: value.contiguous() for name, value in weights.items()}, WEIGHTS)
    test = load_images(data, "test")
    result = {
        "test_accuracy": accuracy(load_classifier(torch.device("cpu")), test),  # of the weights as stored, in fp16
        "n": len(test),
        "parameters": sum(p.numel() for p in averaged.parameters()),
        "bytes": WEIGHTS.stat().st_size,
        "epochs": EPOCHS,
        "seconds": round(seconds),
        "fingerprint": train.fingerprint,
        "commit": find_commit(),
        "torch": torch.__version__,
        "device": device_name(trainer.strategy.root_device),
    }
    save_file({name: value.contiguous() for name, value in weights.items()}, WEIGHTS, {k: str(v) for k, v in result.items()})
    out = Path(__file__).parent.parent / "results" / "cifar-classifier.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
