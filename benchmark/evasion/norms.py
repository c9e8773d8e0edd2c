"""The geometry of a norm ball: where to start, which way to step, how to come back."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmark.machine.copies import sent
from benchmark.spec import SpecError

NormName = Literal["linf", "l2"]
LARGEST_L2 = 10_000.0
"""Of images that nobody has seen yet: the cube of 3 x 5,000 x 5,000 pixels is not wider."""


def _per_image(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.dim() - 1))


def l2_norm(x: Tensor) -> Tensor:
    """(N, ...) -> (N, 1, ...). Summed in float64: squares of 1e-25 would underflow in float32."""
    dims = tuple(range(1, x.dim()))
    norms: Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=True, dtype=torch.float64)
    return norms.to(x.dtype)


@dataclass(frozen=True)
class Linf:
    """Ball of the largest absolute pixel change."""

    def random_start(self, x: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """Uniform in the ball. The draw is on the CPU, so that it is the same for every device."""
        noise = sent(torch.rand(x.shape, generator=generator), x.device).to(x.dtype)
        return noise.mul_(2 * epsilon).sub_(epsilon)

    def far_start(self, x: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """A random point on the surface: uniform in the ball, then scaled until one pixel reaches it."""
        noise = torch.rand(x.shape, generator=generator).mul_(2).sub_(1)
        return sent(noise / noise.abs().amax((1, 2, 3), keepdim=True) * epsilon, x.device).to(x.dtype)

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent of unit length."""
        return gradient.sign()

    def project(self, delta: Tensor, epsilon: float | Tensor) -> Tensor:
        """epsilon: of all, or (N, 1, ...) of each."""
        return delta.clamp(-epsilon, epsilon)  # type: ignore[arg-type]  # both of a kind, which mypy cannot see

    def dual(self, gradient: Tensor) -> Tensor:
        """(N, ...) -> (N,) float64: most that a change of size 1 adds to a function with this gradient."""
        found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), ord=1, dim=1, dtype=torch.float64)
        return found

    def size(self, delta: Tensor) -> Tensor:
        """(N, ...) -> (N,)."""
        return delta.flatten(1).abs().amax(1)


@dataclass(frozen=True)
class L2:
    """Ball of the Euclidean pixel change."""

    def random_start(self, x: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """A uniform direction and a radius uniform in [0, epsilon].

        A uniform point of a ball in hundreds of dimensions lies on its surface, and the steps from there are
        spent on coming back: it fools fewer images.
        """
        direction = torch.randn(x.shape, generator=generator)
        radius = torch.rand(len(x), generator=generator)
        return sent(direction / l2_norm(direction) * _per_image(radius * epsilon, direction), x.device).to(x.dtype)

    def far_start(self, x: Tensor, epsilon: float, generator: torch.Generator) -> Tensor:
        """A uniform point of the surface."""
        direction = torch.randn(x.shape, generator=generator)
        return sent(direction / l2_norm(direction) * epsilon, x.device).to(x.dtype)

    def direction(self, gradient: Tensor) -> Tensor:
        """Steepest ascent of unit length; a zero gradient stays zero."""
        return gradient / l2_norm(gradient).clamp_min(1e-37)

    def project(self, delta: Tensor, epsilon: float | Tensor) -> Tensor:
        """epsilon: of all, or (N, 1, ...) of each."""
        return delta * (epsilon / l2_norm(delta).clamp_min(1e-37)).clamp(max=1.0)

    def dual(self, gradient: Tensor) -> Tensor:
        """(N, ...) -> (N,) float64: most that a change of size 1 adds to a function with this gradient."""
        found: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)
        return found

    def size(self, delta: Tensor) -> Tensor:
        """(N, ...) -> (N,)."""
        return l2_norm(delta).flatten()


def check_length(norm: str, length: float | None, name: str = "epsilon") -> None:
    """Raise SpecError, at the key `name`, for a linf radius or step that is wider than the range of a pixel."""
    if norm == "linf" and length is not None and length > 1:
        example = f"{length:.4g}/255" if length <= 255 else "8/255"
        allowed = f"above 0, up to 1, such as {example}"
        raise SpecError(f"{length:.4g} is not allowed; pixels are in [0, 1]: allowed: {allowed}", (name,))


NORMS: dict[str, Linf | L2] = {"linf": Linf(), "l2": L2()}
