import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mend.errors import InputError
from mend.images import mask_out
from mend.models import REFERENCE, build
from mend.models.refine import REFINEMENTS, ASPPRefinement
from mend.models.unet import DecoderBlock, shrink_hole

# At width 64.
COUNTS = {
    "autoencoder": 6_926_147,
    "unet": 7_700_291,
    "unet-simple": 13_895_235,
    "unet-aspp": 13_552_515,
}


def double_conv(inputs: int, outputs: int) -> int:
    return 9 * inputs * outputs + 2 * outputs + 9 * outputs * outputs + 2 * outputs


def parameters(name: str, w: int) -> int:
    """The count from the formula of each layer, independently of the code."""
    total = double_conv(3, w) + double_conv(w, 2 * w) + double_conv(2 * w, 4 * w) + double_conv(4 * w, 8 * w)
    for c in (4 * w, 2 * w, w):
        wide = c if name == "autoencoder" else 2 * c
        total += 4 * 2 * c * c + c + double_conv(wide, c)
        n, half = 2 * c, c
        total += 2 * (9 * n * n + n) if name == "unet-simple" else 0
        if name == "unet-aspp":
            total += 2 * (n * half + half) + 3 * (9 * n * half + half) + 5 * half * n + n
    return total + 3 * w + 3


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("width", [1, 5, 16, 64])
def test_parameter_counts(name: str, width: int):
    counted = sum(p.numel() for p in build(name, width=width).parameters())
    assert counted == parameters(name, width)
    if width == 64:
        assert counted == COUNTS[name]


def convolution_flops(name: str, w: int, side: int) -> int:
    """Multiply-adds, twice, of every convolution on one side×side image."""

    def double(inputs: int, outputs: int, s: int) -> int:
        return 2 * s * s * 9 * (inputs * outputs + outputs * outputs)

    sides = [side, side // 2, side // 4, side // 8]
    total = (
        double(3, w, sides[0]) + double(w, 2 * w, sides[1]) + double(2 * w, 4 * w, sides[2]) + double(4 * w, 8 * w, sides[3])
    )
    for c, s in zip((4 * w, 2 * w, w), reversed(sides[:3]), strict=True):
        total += 2 * 2 * c * c * s * s  # the transposed convolution: one input pixel for each output pixel
        total += double(c if name == "autoencoder" else 2 * c, c, s)
        n, half = 2 * c, c
        if name == "unet-simple":
            total += 2 * s * s * 2 * 9 * n * n
        if name == "unet-aspp":
            total += 2 * s * s * (n * half + 3 * 9 * n * half + 5 * half * n) + 2 * n * half
    return total + 2 * side * side * 3 * w


@pytest.mark.parametrize("name", REFERENCE)
def test_flops(name: str):
    # Dense: on the CPU a refinement is worked out behind the hole only.
    network = build(name, width=16).eval().to("meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(torch.rand(1, 3, 32, 32, device="meta"), torch.zeros(1, 1, 32, 32, device="meta"))
    assert counter.get_total_flops() == convolution_flops(name, 16, 32)


@pytest.mark.parametrize("name", ["unet", "unet-simple", "unet-aspp"])
def test_the_shapes_of_the_seeds_diagram(name: str):
    network = build(name, width=64).eval()
    seen: list[tuple[int, int]] = []

    def note(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        assert output.shape[2] == output.shape[3]
        seen.append((output.shape[1], output.shape[2]))

    for module in network.modules():
        if isinstance(module, DecoderBlock) or module in [*network.encoder, network.bottleneck]:
            module.register_forward_hook(note)
    refined: list[tuple[int, ...]] = []
    for block in network.decoder:
        block.refine.register_forward_hook(lambda m, i, o: refined.append(tuple(o.shape[1:])))
    with torch.no_grad():
        raw = network(torch.rand(2, 3, 32, 32), torch.ones(2, 1, 32, 32))
    assert seen == [(64, 32), (128, 16), (256, 8), (512, 4), (256, 8), (128, 16), (64, 32)]
    assert refined == [(512, 8, 8), (256, 16, 16), (128, 32, 32)]
    assert raw.shape == (2, 3, 32, 32)


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("hole_channel", [False, True])
def test_raw_lies_in_the_unit_interval_at_any_multiple_of_the_stride(name: str, hole_channel: bool):
    network = build(name, width=3, hole_channel=hole_channel).eval()
    with torch.no_grad():
        raw = network(10 * torch.randn(2, 3, 16, 40), torch.ones(2, 1, 16, 40))
    assert raw.shape == (2, 3, 16, 40)
    assert 0 <= raw.min() <= raw.max() <= 1


@pytest.mark.parametrize("name", REFERENCE)
def test_every_weight_learns(name: str):
    network = build(name, width=4)
    image, hole = torch.rand(4, 3, 64, 64), (torch.rand(4, 1, 64, 64) > 0.5).float()
    (network(mask_out(image, hole), hole) - image).square().mean().backward()
    still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # By the seed's own formula the ASPP's 1×1 branch reads zeros wherever its output is used: only its bias can matter.
    assert still == ([f"decoder.{i}.refine.point.weight" for i in range(3)] if name == "unet-aspp" else [])


@pytest.mark.parametrize("name", REFINEMENTS)
def test_a_refinement_leaves_known_features_exactly_as_they_came(name: str):
    refine = REFINEMENTS[name](8)
    features = torch.randn(2, 8, 9, 9)
    hole = (torch.rand(2, 1, 9, 9) > 0.6).float()
    refined = refine(features, hole)
    known = (hole == 0).expand_as(features)
    assert torch.equal(refined[known], features[known])
    if name != "none":
        assert not torch.equal(refined[~known], features[~known])


@pytest.mark.parametrize("name", ["simple", "aspp"])
def test_a_refinement_sees_the_known_features_only(name: str):
    refine = REFINEMENTS[name](8)
    features, hole = torch.randn(1, 8, 9, 9), torch.zeros(1, 1, 9, 9)
    hole[..., 2:6, 3:7] = 1
    other = torch.where(hole > 0, torch.randn_like(features), features)
    assert torch.equal(refine(features, hole), torch.where(hole > 0, refine(other, hole), features))
    assert torch.isfinite(refine(features, torch.ones_like(hole))).all(), "nothing is known"


def test_the_pooled_branch_is_a_mean_over_known_positions():
    refine = ASPPRefinement(4)
    with torch.no_grad():
        for conv in (refine.point, *refine.atrous):
            conv.weight.zero_()
            conv.bias.zero_()
    # The same known value everywhere: the mean, hence the output, cannot depend on how much is missing.
    features = torch.full((1, 4, 8, 8), 3.0)
    small, large = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    small[..., 0, 0] = 1
    large[..., :7, :] = 1
    assert torch.allclose(refine(features, small)[..., 0, 0], refine(features, large)[..., 0, 0])


def test_the_hole_at_a_coarser_map_is_binary_and_goes_by_the_majority():
    hole = torch.zeros(1, 1, 8, 8)
    hole[..., :4, :2] = 1  # half of a 4×4 cell
    hole[..., 4:6, 4:7] = 1  # 6 of 16
    assert shrink_hole(torch.zeros(1, 3, 2, 2), hole).tolist() == [[[[1.0, 0.0], [0.0, 0.0]]]]
    assert torch.equal(shrink_hole(torch.zeros(1, 3, 8, 8), hole), hole)


def test_an_unknown_model_offers_the_nearest():
    with pytest.raises(InputError, match="unknown model 'unet_aspp'. Did you mean 'unet-aspp'"):
        build("unet_aspp")


def test_an_option_that_a_network_does_not_have_is_named():
    with pytest.raises(InputError, match="pyramid has no hole_channel; it has width"):
        build("pyramid", width=4, hole_channel=True)
