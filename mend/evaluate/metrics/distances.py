"""Distances of two sets of images by their features, `(truth, filled) -> number`; both are (N, D), row by row the same image.

torch-fidelity computes what it has, so that the numbers are those of the package that the field cites.
"""

from functools import lru_cache

import numpy as np
from torch import Tensor

SUBSETS, SUBSET = 100, 1000  # of the kernel distance, as published


def frechet(truth: Tensor, filled: Tensor) -> float:
    """Fréchet distance of two Gaussians (Heusel et al., 2017, arXiv:1706.08500); it takes more images than features."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(features.double()) for features in (truth, filled))
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def kernel(truth: Tensor, filled: Tensor) -> float:
    """Squared maximum mean discrepancy, cubic kernel, unbiased (Bińkowski et al., 2018, arXiv:1801.01401): the mean over 100
    drawn subsets of 1,000 images, or of all where there are fewer."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    size = min(SUBSET, len(truth))
    options = {"kid_subsets": SUBSETS if size == SUBSET else 1, "kid_subset_size": size, "verbose": False}
    return float(kid_features_to_metric(truth.double(), filled.double(), **options)["kernel_inception_distance_mean"])


def paired_indiscernible(truth: Tensor, filled: Tensor) -> float:
    """P-IDS (Zhao et al., 2021, arXiv:2103.10428): how often, in %, a filled image looks more real to a linear support vector
    machine than its own original does."""
    score = _classifier(truth, filled).decision_function
    return float(100 * (score(filled.numpy()) > score(truth.numpy())).mean())


def unpaired_indiscernible(truth: Tensor, filled: Tensor) -> float:
    """U-IDS (Zhao et al., 2021, arXiv:2103.10428): the share, in %, of both sets that a linear support vector machine gets
    wrong; 50 where they cannot be told apart."""
    svm = _classifier(truth, filled)
    both, label = np.concatenate([truth, filled]), np.repeat([1, 0], len(truth))
    return float(100 * (1 - svm.score(both, label)))


@lru_cache(maxsize=1)  # by identity: both scores of two sets are read from one machine
def _classifier(truth: Tensor, filled: Tensor):  # type: ignore[no-untyped-def]
    from sklearn.svm import LinearSVC

    return LinearSVC(dual=False).fit(np.concatenate([truth, filled]), np.repeat([1, 0], len(truth)))
