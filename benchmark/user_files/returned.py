"""What a method returned, which may be the user's: checked before it counts, in one line that says what is allowed."""

import torch
from torch import Tensor

from benchmark.spec import SpecError


def check_tensor(found: object, what: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """`found` itself. what: how the line begins: "evasion 'mine': perturb returned images". Raises SpecError."""
    if not isinstance(found, Tensor) or found.shape != shape or found.dtype != dtype:
        raise SpecError(f"{what}: {described(found)}; allowed: {dtype_name(dtype)} of {tuple(shape)}")
    return found


def check_box(images: Tensor, what: str) -> None:
    """Raises SpecError for images outside [0, 1]; NaN is for others to find."""
    if bool((images < 0).any()) or bool((images > 1).any()):
        low, high = float(images.min()), float(images.max())
        raise SpecError(f"{what}: pixels from {low:.4g} to {high:.4g}; allowed: [0, 1]")


def described(found: object) -> str:
    """In words: float64 of (3, 4) for a tensor, a list for what is none."""
    if isinstance(found, Tensor):
        return f"{dtype_name(found.dtype)} of {tuple(found.shape)}"
    return "nothing (None)" if found is None else f"a {type(found).__name__}"


def dtype_name(dtype: torch.dtype) -> str:
    """Without its module: float32."""
    return str(dtype).removeprefix("torch.")
