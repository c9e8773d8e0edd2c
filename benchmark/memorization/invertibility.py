"""Do reconstructions show the class, and how different are they? Float64 inside."""

import torch
from torch import Tensor


def knn_distance(features: Tensor, labels: Tensor, member_features: Tensor, member_labels: Tensor) -> Tensor:
    """(N,) Euclidean distance of each reconstruction to the nearest member of its class.

    features: (N, D) and member_features: (M, D), whitened evaluator features. labels: (N,), member_labels:
    (M,). Raises ValueError for a class without members.
    """
    assert features.ndim == member_features.ndim == 2, (features.shape, member_features.shape)
    distance = torch.empty(len(features), dtype=torch.float64, device=features.device)
    for label in sorted(set(labels.tolist())):
        gallery = member_features[member_labels == label]
        if len(gallery) == 0:
            raise ValueError(f"class {label} has no member; allowed: target classes with members")
        chosen = labels == label
        # The matrix-product form of cdist loses the small distances, those of copies, to cancellation.
        pairs = torch.cdist(features[chosen].double(), gallery.double(), compute_mode="donot_use_mm_for_euclid_dist")
        distance[chosen] = pairs.amin(dim=1)
    return distance


def diversity(features: Tensor) -> float:
    """Mean pairwise cosine distance among the samples of one class: 0 where all are equal.

    features: (S, D). Raises ValueError for fewer than two samples or an all-zero row.
    """
    if len(features) < 2:
        raise ValueError(f"{len(features)} sample of a class; allowed: at least 2, since diversity is of pairs")
    kernel = _cosines(features)
    s = len(kernel)
    return float(1 - (kernel.sum() - kernel.trace()) / (s * (s - 1)))


def vendi_score(features: Tensor) -> float:
    """Effective number of different samples, 1 to S, with a cosine kernel (Friedman and Dieng 2023).

    exp of the Shannon entropy of the eigenvalues of K / S. features: (S, D), S >= 1. Raises ValueError for
    an all-zero row.
    """
    kernel = _cosines(features)
    shares = torch.linalg.eigvalsh(kernel / len(kernel)).clamp(min=0)
    return float(torch.exp(torch.special.entr(shares).sum()))


def class_mean_correlation(images: Tensor, labels: Tensor, member_images: Tensor, member_labels: Tensor) -> Tensor:
    """(N,) Pearson correlation of each reconstruction with the mean member of its class, over pixels.

    images: (N, ...) and member_images: (M, ...), equal trailing shapes. NaN where either is constant.
    Raises ValueError for a class without members.
    """
    assert images.shape[1:] == member_images.shape[1:], (images.shape, member_images.shape)
    correlation = torch.empty(len(images), dtype=torch.float64, device=images.device)
    classes = labels.unique()
    for label, mean in zip(classes, _centred(class_means(member_images, member_labels, classes)), strict=True):
        chosen = labels == label
        rows = _centred(images[chosen].double())
        correlation[chosen] = rows @ mean / (rows.norm(dim=1) * mean.norm())
    return correlation


def class_means(member_images: Tensor, member_labels: Tensor, classes: Tensor) -> Tensor:
    """(K, ...) float64: the mean member of each of `classes` (K,).

    member_images: (M, ...). Raises ValueError for a class without members.
    """
    means = []
    for label in classes.tolist():
        members = member_images[member_labels == label]
        if len(members) == 0:
            raise ValueError(f"class {label} has no member; allowed: target classes with members")
        means.append(members.double().mean(dim=0))
    return torch.stack(means)


def _centred(images: Tensor) -> Tensor:
    rows = images.flatten(1)
    rows = rows - rows.mean(dim=1, keepdim=True)
    # The mean of equal numbers is off by rounding; what is left of a constant image is exactly nothing.
    return torch.where(rows.abs().amax(dim=1, keepdim=True) < 1e-12, 0.0, rows)


def _cosines(features: Tensor) -> Tensor:
    assert features.ndim == 2 and len(features) > 0, features.shape
    rows = features.double()
    norms = rows.norm(dim=1, keepdim=True)
    if bool((norms == 0).any()):
        raise ValueError(f"{int((norms == 0).sum())} feature rows are all zero; allowed: rows with a direction")
    kernel: Tensor = (rows / norms) @ (rows / norms).T
    return kernel
