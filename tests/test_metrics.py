from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mend.metrics import FID, LPIPS, METRICS, PSNR_CAP, WeightsMissing, mae, psnr, ssim


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 3, 32, 32, generator=generator)
    return (image + 0.1 * torch.randn(3, 3, 32, 32, generator=generator)).clamp(0, 1), image


def test_psnr_and_ssim_equal_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]):
    filled, image = pair
    for i in range(3):
        a, b = (t[i].permute(1, 2, 0).double().numpy() for t in (filled, image))
        assert psnr(filled, image)[i].item() == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-4)
        # scikit-image pads by mirroring with the edge, torchmetrics without: they agree away from the border.
        _, theirs = structural_similarity(
            a, b, data_range=1, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        inner = torch.zeros(1, 1, 32, 32)
        inner[..., 5:-5, 5:-5] = 1
        assert ssim(filled[i : i + 1], image[i : i + 1], inner).item() == pytest.approx(theirs[5:-5, 5:-5].mean(), abs=1e-4)


def test_one_number_an_image_and_batching_changes_none(pair: tuple[torch.Tensor, torch.Tensor]):
    filled, image = pair
    for metric in (psnr, ssim, mae):
        together = metric(filled, image)
        assert together.shape == (3,)
        alone = torch.cat([metric(filled[i : i + 1], image[i : i + 1]) for i in range(3)])
        assert torch.allclose(together, alone, atol=1e-5)


def test_mae_and_psnr_analytically():
    image, filled = torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1)
    assert mae(filled, image).item() == pytest.approx(25.5)
    assert psnr(filled, image).item() == pytest.approx(20.0, abs=1e-4)


def test_inside_the_hole_only_the_hole_counts(pair: tuple[torch.Tensor, torch.Tensor]):
    _, image = pair
    hole = torch.zeros(3, 1, 32, 32)
    hole[..., 10:20, 10:20] = 1
    filled = (image + 0.1 * hole).float()
    assert mae(filled, image, hole).tolist() == pytest.approx([25.5] * 3, rel=1e-4)
    assert mae(filled, image).tolist() == pytest.approx([25.5 * 100 / 1024] * 3, rel=1e-4)
    assert (ssim(filled, image, hole) < ssim(filled, image)).all()


def test_identical_images_and_empty_holes_have_defined_values():
    image = torch.rand(2, 3, 16, 16)
    assert psnr(image, image).tolist() == [PSNR_CAP] * 2
    assert torch.allclose(ssim(image, image), torch.ones(2))
    assert psnr(image, image, torch.zeros(2, 1, 16, 16)).isnan().all()


def test_mixed_precision_does_not_reach_the_metrics(pair: tuple[torch.Tensor, torch.Tensor]):
    filled, image = pair
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = [metric(filled, image) for metric in (psnr, ssim, mae)]
    for one, metric in zip(mixed, (psnr, ssim, mae), strict=True):
        assert torch.allclose(one, metric(filled, image), rtol=1e-5)


@pytest.fixture(scope="module")
def vgg() -> Path:
    """VGG-16 with made-up weights where torchvision's cache would hold the real ones."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    network = vgg16(weights=None, init_weights=False)
    file = Path(torch.hub.get_dir()) / "checkpoints" / "vgg16-397923af.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return file


def test_lpips_equals_the_reference_package_with_the_same_weights(vgg: Path, pair: tuple[torch.Tensor, torch.Tensor]):
    import lpips

    filled, image = pair
    ours = LPIPS(torch.device("cpu"))(filled, image)
    reference = lpips.LPIPS(net="vgg", verbose=False).eval()
    with torch.no_grad():
        theirs = reference(2 * filled - 1, 2 * image - 1).reshape(-1)
    assert ours.shape == (3,)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert LPIPS(torch.device("cpu"))(image, image).abs().max() < 1e-6


@pytest.fixture(scope="module")
def inception() -> Path:
    """Inception with made-up weights where torch-fidelity's cache would hold the real ones."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # The class loads its file as it is built; an untouched one is built around that.
    file = Path(torch.hub.get_dir()) / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    holder: dict[str, torch.Tensor] = {}

    def keep(self: torch.nn.Module, state: object, *args: object, **kwargs: object) -> None:
        generator = torch.Generator().manual_seed(0)
        for name, value in self.state_dict().items():
            value = value.float()
            if value.ndim > 1:
                fan = value[0].numel()
                value = torch.randn(value.shape, generator=generator) * (2 / fan) ** 0.5
            holder[name] = value.to(self.state_dict()[name].dtype)

    patch = pytest.MonkeyPatch()
    patch.setattr(torch.nn.Module, "load_state_dict", keep)
    torch.save({}, file)
    FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path=str(file))
    patch.undo()
    torch.save(holder, file)
    return file


def test_fid_equals_torch_fidelity_with_the_same_weights(inception: Path):
    import torch_fidelity

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(12, 3, 32, 32, generator=generator)
    filled = (0.5 * image + 0.2).clamp(0, 1)
    metric = FID(torch.device("cpu"))
    for part in range(0, 12, 6):
        metric.update(filled[part : part + 6], image[part : part + 6])

    class Pictures(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, images: torch.Tensor) -> None:
            self.images = (images * 255).round().byte()

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> torch.Tensor:
            return self.images[i]

    theirs = torch_fidelity.calculate_metrics(
        input1=Pictures(filled),
        input2=Pictures(image),
        fid=True,
        cuda=False,
        verbose=False,
        feature_extractor_weights_path=str(inception),
        batch_size=6,
        cache=False,
    )["frechet_inception_distance"]
    assert theirs > 0
    assert metric.compute() == pytest.approx(theirs, rel=1e-3)


def test_without_weights_the_error_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(WeightsMissing, match=r"LPIPS needs weights.*vgg16-397923af\.pth.*--metrics psnr,ssim,mae"):
        LPIPS(torch.device("cpu"))
    with pytest.raises(WeightsMissing, match=r"FID needs weights.*weights-inception-2015-12-05-6726825d\.pth"):
        FID(torch.device("cpu"))


def test_every_metric_says_what_it_is():
    for metric in METRICS.values():
        assert metric.definition
        assert sum(way is not None for way in (metric.pixels, metric.per_image, metric.of_sets)) == 1
    assert [n for n, m in METRICS.items() if m.higher_is_better] == ["psnr", "ssim"]
    assert np.isfinite(PSNR_CAP)
