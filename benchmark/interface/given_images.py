"""Images and labels that the caller holds in memory, checked in one line each."""

import torch
from torch import Tensor

from benchmark.spec import SpecError
from benchmark.user_files.returned import dtype_name


def check_images(images: Tensor, name: str = "images") -> None:
    """Raise SpecError for what is no (N, C, H, W) of uint8, or float in [0, 1]; N at least 1."""
    if not isinstance(images, Tensor):
        raise SpecError(f"{name}: a {type(images).__name__} is not allowed; allowed: a torch.Tensor")
    if images.ndim != 4 or not images.numel():
        raise SpecError(f"{name}: shape {tuple(images.shape)} is not allowed; allowed: (N, C, H, W), none of them 0")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise SpecError(f"{name}: {dtype_name(images.dtype)} is not allowed; allowed: float in [0, 1], or uint8")
    if not bool(images.isfinite().all()):
        raise SpecError(f"{name}: they hold NaN or infinity; allowed: float in [0, 1], or uint8")
    low, high = (float(end) for end in images.detach().aminmax())
    if low < 0 or high > 1:
        raise SpecError(
            f"{name}: values from {low:.4g} to {high:.4g} are not allowed; allowed: [0, 1], before any normalisation "
            "(what the network wants goes into mean and std, or value_range)"
        )


def check_labels(labels: Tensor, num_images: int, num_classes: int, name: str = "labels") -> None:
    """Raise SpecError for what is no (N,) of whole numbers from 0 to num_classes - 1."""
    if not isinstance(labels, Tensor):
        raise SpecError(f"{name}: a {type(labels).__name__} is not allowed; allowed: a torch.Tensor")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise SpecError(f"{name}: {dtype_name(labels.dtype)} is not allowed; allowed: class numbers, int64")
    if labels.shape != (num_images,):
        raise SpecError(f"{name}: shape {tuple(labels.shape)} is not allowed; allowed: ({num_images},), one an image")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        wrong = low if low < 0 else high
        raise SpecError(f"{name}: class {wrong} is not allowed; the model has {num_classes}: 0 to {num_classes - 1}")
