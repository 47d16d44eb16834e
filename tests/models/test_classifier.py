import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared
from safetensors import safe_open

from mend.data.loaders import to_image
from mend.data.sources import load_images
from mend.models.classifier import WEIGHTS, Classifier, difference, load_classifier

ROOT = Path(__file__).parent.parent.parent
CPU = torch.device("cpu")


def test_the_maps_are_those_that_the_definition_names():
    maps = load_classifier(CPU).layers(torch.rand(2, 3, 32, 32))
    assert [(m.shape[1], m.shape[2]) for m in maps] == [(24, 31), (64, 15), (64, 15), (224, 7), (224, 7), (192, 3), (192, 3)]
    assert load_classifier(CPU).pooled(torch.rand(2, 3, 32, 32)).shape == (2, 192)
    assert load_classifier(CPU)(torch.rand(2, 3, 48, 40)).shape == (2, 10), "any size"


def test_the_weights_are_small_fixed_and_say_how_good_they_are():
    assert WEIGHTS.stat().st_size <= 3_000_000
    assert not any(p.requires_grad for p in load_classifier(CPU).parameters())
    with safe_open(WEIGHTS, "pt") as file:
        header = file.metadata()
    record = json.loads((ROOT / "results" / "cifar-classifier.json").read_text())
    assert header == {name: str(value) for name, value in record.items()}
    assert record["commit"]
    assert "dirty" not in record["commit"]


@needs_shared
def test_it_tells_the_classes_of_cifar10_apart():
    images = load_images(str(SHARED / "data" / "cifar10"), "test").part(np.arange(500))
    found = load_classifier(CPU)(to_image(np.array(images.pixels))).argmax(1)
    assert (found == torch.from_numpy(images.labels)).float().mean() > 0.9


def test_difference_is_nothing_for_itself_and_at_most_four():
    network = Classifier().eval()
    a, b = (network.layers(torch.rand(3, 3, 32, 32)) for _ in range(2))
    assert torch.equal(difference(a, a), torch.zeros(3))
    assert (difference(a, b) > 0).all()
    opposite = [-m for m in a]
    assert difference(a, opposite).tolist() == pytest.approx([4.0] * 3, rel=1e-5)
