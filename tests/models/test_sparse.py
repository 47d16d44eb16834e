from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mend.models import build, sparse
from mend.models.refine import ASPPRefinement, Refinement, SimpleRefinement
from mend.models.sparse import _Convolve, convolve, dilate, find_cells, put, refine_sparsely, take, to_rows


def dense(refine: Refinement, features: Tensor, hole: Tensor) -> Tensor:
    """The definition: all is worked out, and what lies outside the hole thrown away."""
    return torch.where(hole > 0, refine.net(features * (1 - hole), hole), features)


def refine_always_sparsely(refine: Refinement, features: Tensor, hole: Tensor) -> Tensor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "MOST", 2)
        return refine_sparsely(refine, features, hole)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([SimpleRefinement, ASPPRefinement]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_behind_the_hole_it_is_what_the_dense_module_gives_and_so_are_all_gradients(
    module: type[Refinement], height: int, width: int, share: float, seed: int
):
    torch.manual_seed(seed)
    refine = module(6)
    features, hole = torch.randn(3, 6, height, width), (torch.rand(3, 1, height, width) < share).float()
    towards = torch.randn_like(features)
    found: list[list[Tensor]] = []
    for work_out in (refine_always_sparsely, lambda module, *given: module(*given)):
        refine.zero_grad()
        given_features = features.clone().requires_grad_()
        refined = work_out(refine, given_features, hole)
        (refined * towards).sum().backward()
        assert all(p.grad is not None for p in refine.parameters()), "processes wait for each other's gradients"
        gradients = [p.grad.clone() for p in refine.parameters() if p.grad is not None]
        found.append([refined.detach(), given_features.grad, *gradients])  # type: ignore[list-item]
    for some, full in zip(*found, strict=True):
        assert torch.allclose(some, full, rtol=1e-4, atol=1e-4)


def test_the_gradient_is_the_slope():
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(2, 3, 3, padding=2, dilation=2, dtype=torch.float64)
    source, target = find_cells(torch.rand(2, 5, 4) < 0.6), find_cells(torch.rand(2, 5, 4) < 0.5)
    features = torch.randn(2 * 5 * 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: convolve(layer, take(f, source), source, target)[:-1], features)
    rows = torch.randn(len(target) + 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, r: put(f, target, r), (features, rows))


def test_cells_have_rows_in_their_order_and_the_others_that_of_zeros():
    where = torch.tensor([[[False, True], [True, False]], [[False, False], [False, True]]])
    found = find_cells(where)
    assert found.places.tolist() == [1, 2, 7]
    assert found.rows.tolist() == [[[3, 0], [1, 3]], [[3, 3], [3, 2]]]
    assert take(to_rows(torch.arange(16.0).view(2, 2, 2, 2)), found)[-1].tolist() == [0, 0]


@pytest.mark.parametrize("dilation", [1, 3])
def test_around_a_cell_are_those_that_a_convolution_reads(dilation: int):
    where = torch.zeros(1, 9, 9, dtype=torch.bool)
    where[0, 4, 4] = True
    image = torch.zeros(1, 1, 9, 9, requires_grad=True)
    torch.nn.functional.conv2d(image, torch.ones(1, 1, 3, 3), padding=dilation, dilation=dilation)[0, 0, 4, 4].backward()
    assert image.grad is not None
    assert torch.equal(dilate(where, dilation), image.grad[0] > 0)


def test_less_is_worked_out_where_less_is_missing(monkeypatch: pytest.MonkeyPatch):
    """The reference network at a quarter missing: as many cells as are wanted, and no convolution of the whole map."""
    worked_out: list[int] = []
    forward = _Convolve.forward
    monkeypatch.setattr(_Convolve, "forward", lambda ctx, *a: worked_out.append(len(a[3])) or forward(ctx, *a))
    hole = torch.zeros(2, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    with torch.inference_mode():
        build("unet-simple", width=4)(torch.rand(2, 3, 32, 32) * (1 - hole), hole)
    assert worked_out == [2 * n for side in (4, 8, 16) for n in ((side + 2) ** 2, side**2)]


def test_a_module_of_ones_own_is_what_its_net_says_and_large_holes_are_dense():
    class Mine(SimpleRefinement):
        def net(self, known: Tensor, hole: Tensor) -> Tensor:
            return torch.full_like(known, 7)

    hole = torch.zeros(1, 1, 16, 16)
    hole[..., :4, :4] = 1
    assert (refine_sparsely(Mine(4), torch.rand(1, 4, 16, 16), hole)[..., :4, :4] == 7).all()
    features = torch.rand(1, 4, 16, 16)
    assert sparse._is_faster(features, hole[:, 0] > 0)
    assert not sparse._is_faster(features, torch.ones(1, 16, 16) > 0)


def test_in_bfloat16_it_is_as_near_as_the_dense_module():
    torch.manual_seed(0)
    refine = SimpleRefinement(32)
    features = torch.randn(2, 32, 16, 16).contiguous(memory_format=torch.channels_last)
    hole = torch.zeros(2, 1, 16, 16)
    hole[..., 4:10, 3:9] = 1
    exact = dense(refine, features, hole)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = [
            work_out(features.bfloat16(), hole) for work_out in (partial(refine_sparsely, refine), partial(dense, refine))
        ]
    errors = [(found.float() - exact).abs().max() for found in rounded]
    assert errors[0] < 2 * errors[1] + 1e-3
