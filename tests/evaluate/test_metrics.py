import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch.nn.functional import max_pool2d
from torchmetrics.functional.image import structural_similarity_index_measure

from mend.errors import InputError
from mend.evaluate import metrics as module
from mend.evaluate import reference_check, weights
from mend.evaluate.metrics import (
    METRICS,
    PSNR_CAP,
    Batch,
    FeatureSets,
    average_over,
    find_rim,
    map_similarity,
    measure_absolute_error,
    psnr,
    ssim,
)
from mend.evaluate.weights import WeightsMissing
from mend.models.classifier import difference
from mend.train.losses import LOSSES


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Networks are kept for the process; a test with stand-in weights leaves none to the next."""
    yield
    for load in (module._load_lpips, module.inception):
        load.cache_clear()


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 3, 32, 32, generator=generator)
    return (image + 0.1 * torch.randn(3, 3, 32, 32, generator=generator)).clamp(0, 1), image


def mae(filled: torch.Tensor, image: torch.Tensor, hole: torch.Tensor | None = None) -> torch.Tensor:
    return average_over(measure_absolute_error(filled, image), hole)


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
    found = image.clone().requires_grad_()
    ssim(found, image).sum().backward()  # as a loss does it
    assert found.grad is not None
    assert found.grad.abs().max() < 1e-4, "nothing is better than the same picture"


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


def test_lpips_of_alexnet_equals_the_reference_package_too(pair: tuple[torch.Tensor, torch.Tensor]):
    import lpips
    from torchvision.models import alexnet

    torch.manual_seed(0)
    file = Path(torch.hub.get_dir()) / "checkpoints" / "alexnet-owt-7be5be79.pth"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(alexnet(weights=None).state_dict(), file)
    try:
        image, filled = (torch.nn.functional.interpolate(part, 64) for part in pair)  # AlexNet has nothing left of 32 pixels
        ours = module.lpips_alex(torch.device("cpu"))(Batch(filled), Batch(image))
        reference = lpips.LPIPS(net="alex", verbose=False).eval()
        with torch.no_grad():
            assert torch.allclose(ours, reference(filled * 2 - 1, image * 2 - 1).flatten(), atol=1e-6)
    finally:
        file.unlink()


def test_lpips_equals_the_reference_package_with_the_same_weights(vgg: Path, pair: tuple[torch.Tensor, torch.Tensor]):
    import lpips

    filled, image = pair
    judge = module.lpips_vgg(torch.device("cpu"))
    ours = judge(Batch(filled), Batch(image))
    reference = lpips.LPIPS(net="vgg", verbose=False).eval()
    with torch.no_grad():
        theirs = reference(2 * filled - 1, 2 * image - 1).reshape(-1)
    assert ours.shape == (3,)
    assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert judge(Batch(image), Batch(image)).abs().max() < 1e-6


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


@pytest.mark.slow
def test_fid_and_kid_equal_torch_fidelity_with_the_same_weights(inception: Path):
    """KID on the 2048 features that both use; FID on the first 192, since the root of a 2048×2048 matrix takes a minute."""
    import torch_fidelity
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    generator = torch.Generator().manual_seed(0)
    image = torch.rand(12, 3, 32, 32, generator=generator)
    filled = (0.5 * image + 0.2).clamp(0, 1)
    look = module.inception(torch.device("cpu"))
    truth, others = (torch.cat([look(Batch(part)) for part in images.split(6)]) for images in (image, filled))
    assert truth.shape == (12, 2048)
    early = FeatureExtractorInceptionV3("early", ["192"], feature_extractor_weights_path=str(inception)).eval()
    with torch.no_grad():
        first, second = (early((images * 255).round().byte())[0].float() for images in (image, filled))

    class Pictures(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, images: torch.Tensor) -> None:
            self.images = (images * 255).round().byte()

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> torch.Tensor:
            return self.images[i]

    theirs = torch_fidelity.calculate_metrics(
        input1=Pictures(image),
        input2=Pictures(filled),
        fid=True,
        kid=True,
        kid_subsets=1,
        kid_subset_size=12,
        feature_layer_fid="192",
        cuda=False,
        verbose=False,
        feature_extractor_weights_path=str(inception),
        batch_size=6,
        cache=False,
    )
    assert theirs["frechet_inception_distance"] > 0
    assert module.frechet(FeatureSets(first, second)) == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert module.kernel(FeatureSets(truth, others)) == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


def test_sets_that_look_alike_are_told_from_sets_that_do_not():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(300, 8, generator=generator)
    near, far = (FeatureSets(truth, other) for other in (truth + 0.05 * torch.randn(300, 8, generator=generator), truth + 3))
    for distance in (module.frechet, module.kernel):
        assert distance(near) < 0.05 * distance(far)
    assert module.frechet(far) == pytest.approx(8 * 9, rel=1e-6), "equal covariances: the squared distance of the means"
    assert module.unpaired_indiscernible(near) > 40 > 1 > module.unpaired_indiscernible(far)
    assert module.paired_indiscernible(near) > 25 > 1 > module.paired_indiscernible(far)
    assert module.paired_indiscernible(FeatureSets(truth, truth.clone())) == 50, "nobody can tell them apart"
    some = torch.cat([truth[:100], truth[100:] + 3])
    assert module.paired_indiscernible(FeatureSets(truth, some)) == pytest.approx(100 / 6, abs=1), "a third is half"


def test_the_rim_of_a_hole_is_its_pixels_near_a_known_one():
    hole = torch.zeros(1, 1, 32, 32)
    hole[..., 8:24, 8:24] = 1
    rim = find_rim(hole)
    assert rim.sum() == 16 * 16 - 12 * 12
    assert (rim * (1 - hole)).sum() == 0
    edge = torch.zeros(1, 1, 32, 32)
    edge[..., :8, :] = 1
    assert find_rim(edge)[..., :6, :].sum() == 0, "the border of the image is no known pixel"


def test_the_quick_ways_give_the_numbers_of_the_plain_ones(monkeypatch: pytest.MonkeyPatch):
    """SSIM beside torchmetrics, the rim beside a maximum over squares, LPIPS-CIFAR of a part beside that of the whole."""
    monkeypatch.setattr(module, "STRIP", 1)  # strips of 64 rows
    generator, whole = torch.Generator().manual_seed(0), module.lpips_cifar(torch.device("cpu"))
    for height, width, hole in ((37, 50, (5, 9, 30, 44)), (160, 233, (60, 64, 70, 75)), (150, 97, (0, 20, 60, 97))):
        image, noise = torch.rand(2, 2, 3, height, width, generator=generator)
        top, bottom, left, right = hole
        missing = torch.zeros(2, 1, height, width)
        missing[..., top:bottom, left:right] = 1
        missing[1, :, -3:, -4:] = 1  # and a mark of one picture alone, at the border
        filled = torch.where(missing > 0, noise, image)
        theirs = structural_similarity_index_measure(filled, image, data_range=1.0, reduction="none", return_full_image=True)
        assert torch.allclose(map_similarity(filled, image), theirs[1], atol=5e-5)
        reach = max(2, min(height, width) // 32)
        squares = max_pool2d(1 - missing, 2 * reach + 1, stride=1, padding=reach)
        assert torch.equal(find_rim(missing), missing * squares)
        a, b = Batch(filled), Batch(image)
        part = whole(a, b)
        assert not (a.looked_at and b.looked_at) or height == 37, "the whole of a large picture was looked at"
        assert torch.allclose(part, difference(a.maps, b.maps), rtol=1e-5)


def test_lpips_cifar_is_nothing_for_equal_pictures_and_can_be_trained_on(pair: tuple[torch.Tensor, torch.Tensor]):
    filled, image = pair
    judge = module.lpips_cifar(torch.device("cpu"))

    def distance(filled: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return judge(Batch(filled), Batch(image))

    assert distance(image, image.clone()).abs().max() < 1e-6
    assert (distance(filled, image) > 1e-4).all()
    assert torch.allclose(distance(filled, image)[1:], distance(filled[1:], image[1:]), atol=1e-5)
    raw = filled.clone().requires_grad_()
    LOSSES["lpips-cifar"](raw, image, torch.ones(3, 1, 32, 32)).backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()
    assert raw.grad.abs().sum() > 0


def test_every_metric_with_a_reference_is_certified_and_a_wrong_one_refused(monkeypatch: pytest.MonkeyPatch):
    cpu, names = torch.device("cpu"), ("psnr", "ssim", "mae", "lpips-cifar", "fid-cifar")
    pair = tuple(map(Batch, reference_check.draw_reference_pictures()))
    monkeypatch.setattr(reference_check, "Batch", lambda pictures: next(b for b in pair if b.pictures is pictures))
    monkeypatch.setattr(reference_check, "_checked", set())
    certified = reference_check.certify((*names, "fid"), cpu)
    assert all(re.fullmatch(r"[\w-]+ [\d.]+", certified[name]) for name in names), certified
    assert certified["fid"] == "", "no reference is stored, and none is made up"
    swapped = lambda device: lambda a, b: module.lpips_cifar(device)(Batch(a.pictures.flip(1)), b)  # noqa: E731
    few = lambda sets: module.frechet(FeatureSets(sets.truth[:250], sets.filled[:250]))  # noqa: E731
    for name, wrong in (
        ("psnr", replace(METRICS["psnr"], pixels=lambda a, b: (255 * (a - b)).square())),
        ("ssim", replace(METRICS["ssim"], pixels=lambda a, b: map_similarity(2 * a - 1, 2 * b - 1))),
        ("lpips-cifar", replace(METRICS["lpips-cifar"], per_image=swapped)),
        ("fid-cifar", replace(METRICS["fid-cifar"], distance=few)),
    ):
        monkeypatch.setitem(METRICS, name, wrong)
        reference_check._checked.clear()
        with pytest.raises(InputError, match=r"for the reference pictures, where .* gave .*computes something else"):
            reference_check.certify((name,), cpu)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A server with every file, 300 MB large, and nothing on the disk; what was asked of it."""
    asked: list[str] = []
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights, "_silent", [])

    def answer(request: Request, timeout: float) -> Any:
        asked.append(request.full_url)
        return nullcontext(SimpleNamespace(headers={"Content-Length": "300000000"}))

    monkeypatch.setattr(weights, "urlopen", answer)
    return asked


def test_without_a_network_the_error_names_the_file_and_nobody_asks_again(
    served: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    asked: list[Request] = []

    def offline(request: Request, timeout: float) -> None:
        asked.append(request)
        raise URLError("no route to host")

    monkeypatch.setattr(weights, "urlopen", offline)
    with pytest.raises(
        WeightsMissing, match=r"LPIPS needs weights.*vgg16-397923af\.pth.*no download: psnr, ssim, lpips-cifar, fid"
    ):
        module.lpips_vgg(torch.device("cpu"))
    for _ in range(3):
        with pytest.raises(WeightsMissing, match=r"FID needs weights.*weights-inception-2015-12-05-6726825d\.pth"):
            module.inception(torch.device("cpu"))
    assert len(asked) == 1
    monkeypatch.setattr(weights, "AGAIN", 0.0)
    with pytest.raises(WeightsMissing):
        module.inception(torch.device("cpu"))
    assert len(asked) == 2, "the connection may be back"


def test_the_first_use_says_how_large_the_weights_are_and_where_they_go(
    served: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def cut_short(url: str, file: str, hash_prefix: str | None, progress: bool) -> None:
        assert (hash_prefix, progress) == ("397923af", True)
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr("torch.hub.download_url_to_file", cut_short)
    with pytest.raises(WeightsMissing, match=r"could not be fetched \(invalid hash value\)"):
        module.lpips_vgg(torch.device("cpu"))
    assert f"LPIPS: fetching its weights, 300 MB, to {tmp_path}" in capsys.readouterr().err
    assert len(served) == 1


def test_a_file_that_was_cut_short_is_named(served: list[str], tmp_path: Path):
    file = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    file.parent.mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(9)}, file)
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(
        WeightsMissing, match=r"vgg16-397923af\.pth, the weights of LPIPS, is damaged: it has 500 bytes.* Delete"
    ):
        module.lpips_vgg(torch.device("cpu"))
    assert not served
    assert WeightsMissing("").reason == "pretrained weights not available"


def test_every_metric_says_what_it_is():
    for metric in METRICS.values():
        assert metric.definition
        assert sum(way is not None for way in (metric.pixels, metric.per_image, metric.distance)) == 1
        assert metric.network in module.FEATURES or metric.distance is None
    rising = [n for n, m in METRICS.items() if m.higher_is_better]
    assert rising == ["psnr", "ssim", "p-ids", "p-ids-cifar", "u-ids", "u-ids-cifar"]
    assert np.isfinite(PSNR_CAP)
