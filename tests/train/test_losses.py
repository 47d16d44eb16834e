import pytest
import torch

from mend.errors import InputError
from mend.train.losses import LOSSES, weighted


def test_terms_against_their_definitions():
    raw, image = torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)
    raw[..., 0, 0] = 1.0
    hole = torch.zeros(1, 1, 2, 2)
    hole[..., 0, 0] = 1
    expected = {"mse": (1 + 3 * 0.25) / 4, "l1": (1 + 3 * 0.5) / 4, "hole_mse": 1.0, "hole_l1": 1.0}
    assert {name: LOSSES[name](raw, image, hole).item() for name in expected} == pytest.approx(expected)


def test_an_empty_hole_costs_nothing_inside():
    zero = torch.zeros(1, 1, 2, 2)
    assert LOSSES["hole_mse"](torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2), zero) == 0


def test_the_total_is_weighted_and_a_zero_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch):
    def never(*args: object) -> torch.Tensor:
        raise AssertionError("computed")

    monkeypatch.setitem(LOSSES, "l1", never)
    raw, image, hole = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), torch.ones(2, 1, 4, 4)
    total, terms = weighted({"mse": 2.0, "hole_mse": 0.5, "l1": 0.0}, raw, image, hole)
    assert set(terms) == {"mse", "hole_mse"}
    assert total.item() == pytest.approx(2.5 * (raw - image).square().mean().item(), rel=1e-5)


def test_an_unknown_loss_offers_the_nearest():
    with pytest.raises(InputError, match="unknown loss 'mes'. Did you mean 'mse'"):
        weighted({"mes": 1.0}, torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4), torch.ones(1, 1, 4, 4))
