"""What the reference packages make of the reference pictures; mend's metrics are held to it before they score anything.

    python benchmarks/metric_references.py

Writes mend/assets/metric-references.json. Weights are fetched where they are not on this machine yet; a metric whose weights
cannot be had is left out, by name, and keeps the entry that is there.
"""

import json
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import sklearn
import sklearn.svm
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from mend.evaluate.metrics import FEATURES, METRICS
from mend.evaluate.reference_check import FILE, draw_reference_pictures
from mend.evaluate.weights import WeightsMissing
from mend.models.classifier import load_classifier

truth, filled = draw_reference_pictures()
arrays = [t.permute(0, 2, 3, 1).double().numpy() for t in (truth, filled)]
network = load_classifier(torch.device("cpu"))


def ssim() -> float:
    """The definition of the paper with the borders mirrored, as torchmetrics has it, spelled out with scipy."""
    from scipy.ndimage import gaussian_filter

    def blur(x: np.ndarray) -> np.ndarray:
        return gaussian_filter(x, 1.5, axes=(1, 2), truncate=3.5, mode="mirror")

    a, b = arrays
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b, cov = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2, blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    return float(np.mean((2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


class Pooled(torch.nn.Module):
    num_features = 192

    def forward(self, pixels: Tensor) -> Tensor:
        return network.pooled(pixels)


def fid_cifar() -> float:
    metric = FrechetInceptionDistance(Pooled(), normalize=False, input_img_size=(3, 32, 32))
    metric.update(truth, real=True)
    metric.update(filled, real=False)
    return float(metric.compute())


def lpips_cifar() -> float:
    def unit(maps: Tensor) -> np.ndarray:
        values = maps.double().numpy()
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    pairs = zip(network.layers(truth), network.layers(filled), strict=True)
    return float(np.mean([((unit(a) - unit(b)) ** 2).sum(1).mean() for a, b in pairs]))


def kid_cifar() -> float:
    a, b = (network.pooled(t).double().numpy() for t in (truth, filled))
    n = len(a)
    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda x, y: sklearn.metrics.pairwise.polynomial_kernel(x, y, 3)  # noqa: E731
    within = [(k.sum() - np.trace(k)) / (n * (n - 1)) for k in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def separated(look: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    a, b = (look(t).numpy() for t in (truth, filled))
    both, label = np.concatenate([a, b]), np.array([1] * len(a) + [0] * len(b))
    svm = sklearn.svm.LinearSVC(dual=False).fit(both, label)
    score_a, score_b = (svm.decision_function(features) for features in (a, b))
    paired = (score_b > score_a).mean() + (score_b == score_a).mean() / 2
    return 100 * float(paired), 100 * float((svm.predict(both) != label).mean())


def by_inception(images: Tensor) -> Tensor:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    extractor = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).eval()
    with torch.no_grad():
        return torch.cat([extractor((part * 255).round().byte())[0] for part in images.split(64)])


def lpips_of(kind: str) -> float:
    import lpips

    reference = lpips.LPIPS(net=kind, verbose=False).eval()
    with torch.no_grad():
        return float(reference(2 * filled - 1, 2 * truth - 1).mean())


def of_inception(name: str, key: str) -> float:
    import torch_fidelity

    class Pictures(torch.utils.data.Dataset[Tensor]):
        def __init__(self, images: Tensor) -> None:
            self.images = (images * 255).round().byte()

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, i: int) -> Tensor:
            return self.images[i]

    options = {name: True, "kid_subset_size": len(truth), "kid_subsets": 1, "cuda": False, "verbose": False, "cache": False}
    return float(torch_fidelity.calculate_metrics(input1=Pictures(truth), input2=Pictures(filled), **options)[key])


REFERENCES: dict[str, tuple[str, Callable[[], float]]] = {
    "psnr": (
        "scikit-image",
        lambda: float(np.mean([peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(*arrays, strict=True)])),
    ),
    "ssim": ("scipy", ssim),
    "mae": ("numpy", lambda: float(255 * np.abs(arrays[0] - arrays[1]).mean())),
    "lpips": ("lpips", lambda: lpips_of("vgg")),
    "lpips-alex": ("lpips", lambda: lpips_of("alex")),
    "lpips-cifar": ("numpy", lpips_cifar),
    "fid-cifar": ("torchmetrics", fid_cifar),
    "fid": ("torch-fidelity", lambda: of_inception("fid", "frechet_inception_distance")),
    "kid": ("torch-fidelity", lambda: of_inception("kid", "kernel_inception_distance_mean")),
    "kid-cifar": ("scikit-learn", kid_cifar),
    "p-ids-cifar": ("scikit-learn", lambda: separated(network.pooled)[0]),
    "p-ids": ("scikit-learn", lambda: separated(by_inception)[0]),
    "u-ids": ("scikit-learn", lambda: separated(by_inception)[1]),
    "u-ids-cifar": ("scikit-learn", lambda: separated(network.pooled)[1]),
}

if __name__ == "__main__":
    known = json.loads(FILE.read_text())["metrics"] if FILE.exists() else {}
    for name, (package, compute) in REFERENCES.items():
        try:  # first by mend, which says what it fetches, and asks once where there is no network
            if make := METRICS[name].per_image or FEATURES.get(METRICS[name].network):
                make(torch.device("cpu"))
        except WeightsMissing as missing:
            print(f"left out: {name}. {missing}")
            continue
        value = compute()
        assert abs(value) > 1e-3, f"{name} is {value:g}: next to nothing, and so no reference"
        known[name] = {"value": value, "by": f"{package} {version(package)}"}
    FILE.write_text(
        json.dumps({"pictures": "mend.evaluate.reference_check.draw_reference_pictures", "metrics": known}, indent=1) + "\n"
    )
    print(json.dumps(known, indent=1))
