import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mend.inpaint.texture
from mend.data.random import uniform
from mend.inpaint.texture import has_patches, textured


def grain(height: int, width: int, low: float = 0.3, high: float = 0.7) -> Tensor:
    """Coloured noise of a few pixels' width, between `low` and `high`."""
    noise = torch.from_numpy(uniform(3 * height * width, 1, height, width)).float().reshape(1, 3, height, width)
    smooth = F.avg_pool2d(F.pad(noise, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    return low + (high - low) * (smooth - smooth.min()) / (smooth.max() - smooth.min())


def box(height: int, width: int, rows: slice, columns: slice) -> Tensor:
    hole = torch.zeros(1, 1, height, width)
    hole[..., rows, columns] = 1
    return hole


def smooth_filling(image: Tensor, hole: Tensor) -> Tensor:
    """What a network trained on averages returns: the right colours, no grain."""
    wide = F.avg_pool2d(F.pad(image, (8, 8, 8, 8), mode="reflect"), 17, stride=1)
    return torch.where(hole > 0, wide, image)


def inside(image: Tensor, hole: Tensor) -> Tensor:
    return image[:, :, hole[0, 0] > 0]


def test_grain_comes_back_in_a_smooth_filling():
    image, hole = grain(80, 96), box(80, 96, slice(20, 52), slice(30, 62))
    filled = smooth_filling(image, hole)
    result = textured(filled, hole)
    assert inside(filled, hole).std() < 0.3 * inside(image, hole).std()
    assert inside(result, hole).std() == pytest.approx(inside(image, hole).std().item(), rel=0.2)


def test_stripes_go_on_through_the_hole():
    image = (torch.arange(96) % 8 < 4).float().expand(1, 3, 64, 96)
    hole = box(64, 96, slice(20, 44), slice(30, 60))
    result = textured(smooth_filling(image, hole), hole)
    assert (result - image).abs().mean() < 0.002


def test_an_edge_that_was_filled_with_a_blur_is_sharp_and_the_colours_are_those_of_the_picture():
    image = (torch.arange(96) < 48).float().expand(1, 3, 64, 96) * 0.8 + 0.1
    hole = box(64, 96, slice(20, 44), slice(34, 62))
    result = inside(textured(smooth_filling(image, hole), hole), hole)
    between = (result > 0.2) & (result < 0.8)
    assert between.float().mean() < 0.05


def test_steps_between_copies_do_not_show_in_a_gradient():
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 96), indexing="ij")
    image = (0.8 - 0.3 * (x.square() + y.square())).expand(1, 3, 64, 96)  # brightest in the hole: no known patch fits
    hole = box(64, 96, slice(16, 48), slice(30, 66))
    result = textured(smooth_filling(image, hole), hole)
    steepest = (image[..., 1:] - image[..., :-1]).abs().max()
    assert (result[..., 1:] - result[..., :-1]).abs().max() < 1.5 * steepest


def test_a_patch_of_the_colour_of_the_filling_is_taken():
    image = torch.cat([grain(64, 64, 0.0, 0.3), grain(64, 64, 0.7, 1.0)], 3)
    hole = box(64, 128, slice(20, 44), slice(14, 50))
    dark, light = (textured(torch.where(hole > 0, torch.tensor(colour), image), hole) for colour in (0.15, 0.85))
    assert inside(dark, hole).mean() + 0.3 < inside(light, hole).mean()


@pytest.mark.parametrize("matched", [1_500_000, 61 * 75 // 2])
def test_nothing_outside_the_hole_changes_and_neither_do_the_arguments(matched, monkeypatch):
    monkeypatch.setattr(mend.inpaint.texture, "MATCHED", matched)
    image = grain(61, 75)
    hole = box(61, 75, slice(0, 20), slice(50, 75))
    hole[0, 0, 40:42, :20] = 1
    filled = smooth_filling(image, hole).contiguous(memory_format=torch.channels_last)  # as a photograph is
    before = filled.clone(memory_format=torch.preserve_format), hole.clone()
    result = textured(filled, hole)
    known = (hole == 0).expand_as(image)
    assert torch.equal(result[known], filled[known])
    assert not torch.equal(result, filled)
    assert torch.equal(filled, before[0])
    assert torch.equal(hole, before[1])


def test_above_a_size_the_copies_are_enlarged_and_keep_their_grain(monkeypatch):
    image, hole = grain(90, 101), box(90, 101, slice(20, 51), slice(30, 61))
    monkeypatch.setattr(mend.inpaint.texture, "MATCHED", 90 * 101 // 3)
    result = textured(smooth_filling(image, hole), hole)
    assert inside(result, hole).std() == pytest.approx(inside(image, hole).std().item(), rel=0.2)


def test_the_last_row_and_column_of_an_odd_side_are_the_only_ones_of_their_cell():
    hole = box(3, 5, slice(0, 2), slice(0, 2))[0, 0] > 0
    last = torch.tensor([5])  # of the 2×3 cells, which the first one copies
    copies = mend.inpaint.texture._Copies(torch.Size((2, 3)), torch.tensor([0]), last, torch.zeros(1, 3), torch.zeros(1, 3))
    assert mend.inpaint.texture._enlarged(copies, hole).tolist() == [14, 14, 14, 14]


def test_a_copy_lies_in_its_cell_of_an_enlarged_scale_as_its_pixel_does(monkeypatch):
    image = 0.8 * grain(90, 101) + 0.2 * (torch.arange(101) % 2)
    hole = box(90, 101, slice(20, 51), slice(30, 61))
    monkeypatch.setattr(mend.inpaint.texture, "MATCHED", 90 * 101 // 3)
    result = textured(smooth_filling(image, hole), hole)[..., 20:50, 30:60]
    assert (result[..., 1::2] - result[..., ::2]).mean() == pytest.approx(0.2, abs=0.03)


def test_where_most_of_a_picture_is_flat_the_rest_does_not_spread():
    image = torch.cat([grain(32, 128, 0.0, 0.6), torch.ones(1, 3, 64, 128)], 2)
    hole = box(96, 128, slice(24, 70), slice(40, 90))
    result = textured(smooth_filling(image, hole), hole)
    assert (result - image)[..., 40:70, 40:90].abs().max() < 0.01


def test_a_hole_of_any_depth_is_filled_with_grain():
    image, hole = grain(900, 24), box(900, 24, slice(0, 860), slice(0, 24))  # nothing known but below: 860 pixels deep
    result = inside(textured(torch.where(hole > 0, 0.5, image), hole), hole).reshape(1, 3, 860, 24)
    assert result[:, :, :100].std() > 0.5 * image.std()


def test_a_flat_picture_stays_flat():
    image, hole = torch.full((1, 3, 64, 80), 0.3), box(64, 80, slice(20, 40), slice(20, 60))
    assert torch.equal(textured(image, hole), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (6, 90), (7, 7), (20, 20)])
def test_where_no_patch_is_known_the_filling_comes_back(size):
    filled = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    hole = torch.ones(1, 1, *size)
    hole[..., ::5, ::5] = 0
    for missing in (hole, torch.ones_like(hole)):
        assert torch.equal(textured(filled, missing), filled)
        assert not has_patches(missing)


def test_one_known_patch_is_enough():
    filled = grain(20, 30)
    hole = torch.ones(1, 1, 20, 30)
    hole[..., :7, :7] = 0
    result = textured(filled, hole)
    assert result.isfinite().all()
    assert not torch.equal(result, filled)
    assert has_patches(hole)


def test_a_large_picture_without_a_scale_to_match_patches_at_comes_back(monkeypatch):
    monkeypatch.setattr(mend.inpaint.texture, "MATCHED", 400)
    filled, hole = grain(24, 30), box(24, 30, slice(10, 14), slice(10, 20))
    assert torch.equal(textured(filled, hole), filled)
    assert not has_patches(hole)


def test_a_picture_without_a_hole_is_returned():
    image = grain(30, 40)
    assert torch.equal(textured(image, torch.zeros(1, 1, 30, 40)), image)


def test_pictures_of_a_batch_are_textured_one_by_one_always_alike():
    images = torch.cat([grain(40, 50), 1 - grain(40, 50)])
    holes = torch.cat([box(40, 50, slice(10, 20), slice(10, 30)), box(40, 50, slice(30, 40), slice(0, 9))])
    both = textured(images, holes)
    assert torch.equal(both, torch.cat([textured(images[i : i + 1], holes[i : i + 1]) for i in (0, 1)]))
