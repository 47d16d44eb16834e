import math
from pathlib import Path
from typing import Any

import pytest
import torch

from mend.errors import InputError
from mend.evaluate.metrics import psnr
from mend.train.losses import LOSSES, features, load_features, make_terms, weigh_terms


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small DeepLabV3 on MobileNetV2 with weights of chance, and norms that do something."""
    from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation, MobileNetV2ImageProcessor

    folder = tmp_path_factory.mktemp("backbone")
    network = MobileNetV2ForSemanticSegmentation(MobileNetV2Config(depth_multiplier=0.25, output_stride=16))
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.01, 0.02)
    network.save_pretrained(folder)
    MobileNetV2ImageProcessor(image_mean=[0.5, 0.4, 0.3], image_std=[0.5, 0.6, 0.7]).save_pretrained(folder)
    return folder


def test_the_features_are_hidden_states_of_the_network(backbone: Path):
    from transformers import MobileNetV2ForSemanticSegmentation

    network: Any = MobileNetV2ForSemanticSegmentation.from_pretrained(backbone).eval()
    image = torch.rand(2, 3, 64, 64)
    mean, deviation = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(1, 3, 1, 1)
    with torch.no_grad():
        states = network.mobilenet_v2((image - mean) / deviation, output_hidden_states=True).hidden_states
        found = load_features(str(backbone), torch.device("cpu"))(image)
    expected = [states[depth] for depth in (0, 1, 3, 6, 10)]
    assert [state.shape[-1] for state in found] == [16, 16, 8, 4, 4]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.std())) for a, b in zip(found, expected, strict=True))
    assert all(state.std() > 0 for state in found)


def test_features_compare_what_is_filled(backbone: Path):
    image, hole = torch.rand(2, 3, 64, 64), torch.zeros(2, 1, 64, 64)
    hole[..., 20:40, 20:40] = 1
    outside = image + (1 - hole)
    assert features(outside, image, hole, str(backbone)) == 0, "outside the hole the image is taken"
    near, far = ((image + step * hole).requires_grad_() for step in (0.1, 0.5))
    losses = [features(raw, image, hole, str(backbone)) for raw in (near, far)]
    assert 0 < losses[0] < losses[1]
    losses[1].backward()
    assert far.grad is not None
    assert far.grad.isfinite().all()
    assert (far.grad.abs().sum(1, keepdim=True) > 0).any()
    assert not (far.grad * (1 - hole)).any()
    small = image[..., :16, :16]
    assert features(small + 0.1, small, torch.ones(2, 1, 16, 16), str(backbone)) == 0, "too small to be looked at"


def test_another_hole_is_looked_at_from_another_corner(backbone: Path):
    image, hole = torch.rand(1, 3, 48, 48), torch.ones(1, 1, 48, 48)
    raw = image.clone()
    raw[..., :7, :] += 0.5
    assert features(raw, image, hole, str(backbone)) > 0, "2304 missing pixels are 36 times 64: from the first corner"
    hole[..., -1, -1] = 0
    assert features(raw, image, hole, str(backbone)) == 0, "2303 are seven rows and seven columns less"


def test_features_need_a_network(backbone: Path, tmp_path: Path):
    raw, image, hole = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    with pytest.raises(InputError, match="needs a network; name its folder by `feature_network`"):
        weigh_terms({"features": 1.0}, raw, image, hole)
    with pytest.raises(InputError, match="no network for the loss term features in .*nowhere"):
        weigh_terms({"features": 1.0}, raw, image, hole, make_terms(str(tmp_path / "nowhere")))
    total, _ = weigh_terms({"features": 2.0}, raw, image, hole, make_terms(str(backbone)))
    assert total == 2 * features(raw, image, hole, str(backbone))


def test_terms_against_their_definitions():
    raw, image = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    raw[..., 0, 0] = 1.0
    hole = torch.zeros(1, 1, 2, 2)
    hole[..., 0, 0] = 1
    expected = {"mse": (1 + 3 * 0.25) / 4, "l1": (1 + 3 * 0.5) / 4, "hole_mse": 1.0, "hole_l1": 1.0}
    assert {name: LOSSES[name](raw, image, hole).item() for name in expected} == pytest.approx(expected)


def test_the_logarithm_of_squares_falls_as_psnr_rises():
    image, hole = torch.rand(3, 3, 8, 8), torch.zeros(3, 1, 8, 8)
    hole[..., 2:6, 2:7] = 1
    raw = image + torch.tensor([0.5, 0.1, 0.05]).view(3, 1, 1, 1) * torch.randn(3, 3, 8, 8)
    expected = -psnr(raw, image, hole).mean().item() * math.log(10) / 10
    assert LOSSES["hole_log_mse"](raw, image, hole).item() == pytest.approx(expected, abs=0.05)
    assert LOSSES["hole_log_mse"](image, image, hole).item() == pytest.approx(math.log(1e-4))


def test_an_empty_hole_costs_nothing_inside():
    zero = torch.zeros(1, 1, 2, 2)
    assert LOSSES["hole_mse"](torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), zero) == 0


def test_the_total_is_weighted_and_a_zero_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch):
    def never(*args: object) -> torch.Tensor:
        raise AssertionError("computed")

    monkeypatch.setitem(LOSSES, "l1", never)
    raw, image, hole = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    total, terms = weigh_terms({"mse": 2.0, "hole_mse": 0.5, "l1": 0.0}, raw, image, hole)
    assert set(terms) == {"mse", "hole_mse"}
    assert total.item() == pytest.approx(2.5 * (raw - image).square().mean().item(), rel=1e-5)


def test_an_unknown_loss_offers_the_nearest():
    with pytest.raises(InputError, match="unknown loss 'mes'. Did you mean 'mse'"):
        weigh_terms({"mes": 1.0}, torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), torch.ones(1, 1, 4, 4))
