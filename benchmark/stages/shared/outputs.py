"""Refuses outputs of a network that are no numbers: `argmax` would take NaN for a class."""

from torch import Tensor


def finite(values: Tensor, what: str = "the network") -> Tensor:
    """The values, if they are finite. values: (N, ...) of N images. Raises FloatingPointError if an image's are not."""
    bad = int((~values.flatten(1).isfinite().all(1)).sum())
    if bad:
        raise FloatingPointError(f"{what} gives NaN or infinity for {bad} of {len(values)} images")
    return values
