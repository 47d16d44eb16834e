"""A seam evened out: the filling meets the picture, keeps its gradients, and nothing else changes."""

import pytest
import torch
from torch import Tensor

from mend.filling.load import load_filler
from mend.images import composite, mask_out
from mend.inpaint.blend import Blended, evened, spread
from mend.inpaint.filler import Filler
from mend.models import build
from mend.models.filler import TorchFiller


def scene(height: int = 61, width: int = 90) -> tuple[Tensor, Tensor]:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    image = 0.2 + 0.6 * torch.stack([rows, columns, (rows + columns) / 2])[None]
    hole = torch.zeros(1, 1, height, width)
    hole[..., 20:45, 30:70] = 1
    return image, hole


def fill(filler: Filler, image: Tensor, hole: Tensor) -> Tensor:
    raw = filler(mask_out(image, hole).numpy(), hole.numpy())
    return composite(image, torch.from_numpy(raw), hole)


def test_a_constant_and_a_ramp_are_carried_on():
    image, hole = scene()
    assert torch.allclose(spread(torch.full_like(image, 0.3), 1 - hole), torch.full_like(image, 0.3), atol=1e-6)
    assert (spread(mask_out(image, hole), 1 - hole) - image).abs().max() < 0.01, "a ramp is harmonic"
    assert not spread(image, torch.zeros_like(hole)).any(), "nothing is known"


def test_a_filling_that_is_off_by_a_ramp_is_put_right_and_keeps_its_detail():
    image, hole = scene()
    detail = 0.05 * torch.sin(torch.arange(90) / 2.0).expand_as(image) * hole
    off = torch.linspace(-0.1, 0.1, 90).expand_as(image)
    assert (evened(image + detail + off, image, hole) - image - detail)[:, :, 20:45, 30:70].abs().max() < 0.01
    assert torch.equal(evened(image, image, hole), image), "what meets the picture stays"


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (7, 300)])
def test_any_size(size: tuple[int, int]):
    image, hole = torch.rand(2, 3, *size), (torch.rand(2, 1, *size) < 0.5).float()
    result = evened(torch.rand(2, 3, *size), image, hole)
    assert result.shape == image.shape
    assert 0 <= result.min() <= result.max() <= 1


def test_known_pixels_are_the_same_bits_and_each_image_is_by_itself():
    torch.manual_seed(0)
    image, hole = scene()
    plain = TorchFiller(build("unet", width=4), torch.device("cpu"), {})
    filled = fill(Blended(plain), image, hole)
    assert torch.equal(filled[(hole == 0).expand_as(image)], image[(hole == 0).expand_as(image)])
    assert not torch.equal(filled, fill(plain, image, hole))
    both = fill(Blended(plain), torch.cat([image, image.flip(3)]), torch.cat([hole, hole.flip(2)]))
    assert torch.allclose(both[:1], filled, atol=1e-5)


def test_fillings_that_meet_the_picture_by_themselves_stay_as_they_are():
    image, hole = scene()
    image = (image * 255).round() / 255  # of which OpenCV's keep every level
    for name in (None, "telea", "navier-stokes", "biharmonic"):
        plain, seam = (load_filler(name, seam=on) for on in (False, True))
        assert torch.equal(fill(plain, image, hole), fill(seam, image, hole)), name
