from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SHARED, needs_shared, smooth
from torch import nn

from mend.data.sources import load_images
from mend.errors import InputError
from mend.segment import networks
from mend.segment.networks import find_graph_object, fold_norms, load_segmenter, upsample


def test_graph_segmentation_finds_a_disc():
    pixels = np.full((32, 32, 3), 40, np.uint8)
    y, x = np.mgrid[:32, :32]
    disc = (y - 16) ** 2 + (x - 14) ** 2 < 64
    pixels[disc] = (220, 60, 40)
    found = find_graph_object(pixels)
    assert (found & disc).sum() / (found | disc).sum() > 0.7
    assert not find_graph_object(np.full((32, 32, 3), 9, np.uint8)).any()


def test_graph_segmentation_prefers_the_central_the_large_and_what_keeps_off_the_border():
    y, x = np.mgrid[:64, :64]

    def disc(cy: int, cx: int, radius: int) -> np.ndarray:
        return (y - cy) ** 2 + (x - cx) ** 2 < radius**2

    strip = (y >= 48) & (abs(x - 32) < 24)
    for (cy, cx, radius), other in (
        ((32, 32, 12), disc(13, 13, 12)),  # more central
        ((32, 18, 14), disc(32, 40, 6)),  # larger
        ((16, 32, 12), strip),  # smaller, but the strip lies along the border
    ):
        wanted = disc(cy, cx, radius)
        pixels = np.full((64, 64, 3), 40, np.uint8)
        pixels[other], pixels[wanted], pixels[disc(cy, cx, 6)] = (40, 200, 60), (220, 60, 40), (40, 60, 220)
        found = find_graph_object(pixels)
        assert (found & wanted).sum() / (found | wanted).sum() > 0.8, "with the gap in its middle closed"


@pytest.mark.parametrize(
    ("name", "short", "side"), [("deeplabv3_resnet50", 104, 13), ("deeplabv3_mobilenet_v3_large", networks.SIDE, 33)]
)
def test_torchvision_segmenters_load_their_weights_from_the_librarys_cache(
    name: str, short: int, side: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(networks, "SIDE", short)
    from torchvision.models import get_model, get_model_weights

    torch.manual_seed(0)
    network = get_model(name, weights=None, weights_backbone=None, aux_loss=True)
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(get_model_weights(name).DEFAULT.url).name
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    # Stand-in weights have another hash than the download, which torchvision would check.
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *args, **kwargs: pytest.fail("it tried to download"))
    segmenter = load_segmenter(name, "cpu")
    masks = segmenter.masks(np.stack([smooth(32, 32, 0)]))
    assert masks.shape == (1, 32, 32)
    assert masks.dtype == np.bool_
    assert len(segmenter.weights) == 64
    assert segmenter.scores is not None
    assert segmenter.scores(np.stack([smooth(32, 32, 0)])).shape[1:] == (21, side, side), "not enlarged for each class"
    file.unlink()


def test_without_weights_or_network_the_error_names_the_file(monkeypatch: pytest.MonkeyPatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(InputError, match=r"deeplabv3_resnet50.*checkpoints.deeplabv3_resnet50_coco-\w+\.pth.*felzenszwalb"):
        load_segmenter("deeplabv3_resnet50")


@needs_shared
def test_the_pretrained_deeplabv3_agrees_with_the_given_masks():
    """A handful here; `benchmarks/mask_agreement.py` measures it on hundreds."""
    model = SHARED / "models" / "deeplabv3_mobilenet_v2_513"
    data = SHARED / "data" / "cifar10"
    images = load_images(str(data), "test")
    rows = np.arange(6)
    ours = load_segmenter(f"hf:{model}", "cpu").masks(images.pixels[rows])
    with np.load(data / "deeplabv3-masks-test.npz") as archive:
        given_masks = np.unpackbits(archive["mask"][rows], axis=1).reshape(-1, 32, 32).astype(bool)
    assert (ours == given_masks).mean() > 0.9


def test_maps_are_enlarged_as_interpolation_does():
    maps = torch.randn(2, 3, 5, 7)
    expected = torch.nn.functional.interpolate(maps, (33, 20), mode="bilinear", align_corners=False)
    assert torch.allclose(upsample(maps, 33, 20), expected, atol=1e-5)


@pytest.mark.parametrize("swapped", [False, True])
def test_norms_are_folded_where_that_changes_nothing(swapped: bool):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(self.norm(x)) if swapped else self.norm(self.conv(x))

    block = Block().eval().requires_grad_(False)
    block.norm.running_mean = torch.tensor([1.0, -2.0, 0.5])
    block.norm.running_var = torch.tensor([4.0, 0.5, 2.0])
    example = torch.randn(1, 3, 8, 8)
    folded = fold_norms(block, lambda network: network(example))
    assert torch.allclose(folded(example), block(example), atol=1e-5)
    assert (folded is block) == swapped, "a norm before its convolution is left alone"
    assert any(isinstance(part, nn.BatchNorm2d) for part in block.modules()), "the network itself is not changed"
