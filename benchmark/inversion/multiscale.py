"""Gradient inversion at several scales, coarse to fine."""

from typing import Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import channels_last, folded, frozen
from benchmark.evasion.norms import LARGEST_L2, NORMS
from benchmark.inversion.attack import Victim
from benchmark.inversion.descent import Descent, Objective, Schedule, class_loss, share_left, total_variation
from benchmark.search_space import Choice, LogUniform, Space, around
from benchmark.spec import Fraction


class MultiscaleInversion(Descent):
    """Octaves: descend at a low resolution, enlarge, blend, descend at the next; blur on the way.

    Every level is a real resolution: its image has that many pixels and is enlarged (bilinear) to the network's
    size for each pass. Level sizes fall by `octave_scale` from the full size; a side has at least one pixel.
    steps: over all levels, shared evenly; what is left over goes to the finest levels.
    step_size: l2 length of the first step of each level at full size; a level of fewer pixels takes steps that
    change a pixel as much. schedule: how lengths fall within a level.
    blend: `noise` mixes the share `blend_share` of fresh noise, as the start's, into an enlarged image; `previous`
    mixes that share of the enlarged image into what the descent made of it.
    blur: standard deviation (pixels of the level) of a Gaussian on the image after each step of a level, falling
    linearly to 0 at the last step.
    """

    SOURCE = (
        "Mejia et al. 2019, gradient descent at different scales, settings not published; octaves as in "
        "Mordvintsev et al. 2015, blur as in Yosinski et al. 2015"
    )
    objective: Objective = "cross_entropy"
    octaves: int = Field(default=3, ge=1, le=16)
    octave_scale: Fraction = Field(default=1.4, gt=1, le=1_000)
    step_size: Fraction = Field(default=1.0, gt=0, le=LARGEST_L2)
    schedule: Schedule = "linear"
    blend: Literal["noise", "previous"] = "noise"
    blend_share: Fraction = Field(default=0.1, ge=0, lt=1)
    blur: Fraction = Field(default=0.5, ge=0, le=10_000)

    @property
    def search_space(self) -> Space:
        return {
            "step_size": around(self.step_size),
            "schedule": Choice(("constant", "linear", "cosine")),
            "objective": Choice(("cross_entropy", "logit")),
            "octaves": Choice(tuple(octaves for octaves in (2, 3, 4) if octaves <= self.steps)),
            "blend_share": LogUniform(0.02, 0.5),
            "blur": LogUniform(0.1, 1.5),
            **self.start_space,
        }

    def for_memoriser(self) -> Self:
        return self.model_copy(update={"objective": "logit", "total_variation": 0.0, "blur": 0.0, "blend_share": 0.0})

    def after_step(self, images: Tensor, part: float) -> Tensor:
        """Blurred. part: of the steps of the level, in whose resolution the images are."""
        return blurred(images, self.blur * (1 - part))

    def levels(self, height: int, width: int) -> list[tuple[int, int, int]]:
        """(height, width, steps) of each level, coarse to fine."""
        scales = [self.octave_scale**-octave for octave in reversed(range(self.octaves))]
        short = self.octaves - self.steps % self.octaves
        return [
            (max(1, round(height * s)), max(1, round(width * s)), self.steps // self.octaves + (i >= short))
            for i, s in enumerate(scales)
        ]

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        targets = self.targets(victim.num_classes)
        levels = self.levels(*victim.shape[1:])
        # One image of noise a level, all drawn before the batches are cut: batch_size changes no draw.
        noise = [_resized(self.starts(victim, generator), h, w) for h, w, _ in levels]
        done = []
        with frozen(victim.model), channels_last(victim.model), folded(victim.model):
            for begin in range(0, len(targets), self.batch_size):
                cut = slice(begin, begin + self.batch_size)
                fresh = [n[cut].to(victim.device, memory_format=torch.channels_last) for n in noise]
                y = targets[cut].to(victim.device)
                done.append(self._climb(victim.model, levels, fresh, y).cpu())
        return torch.cat(done).contiguous()

    def _climb(
        self, model: nn.Module, levels: list[tuple[int, int, int]], noise: list[Tensor], targets: Tensor
    ) -> Tensor:
        full, x = levels[-1][:2], noise[0]
        for index, (height, width, steps) in enumerate(levels):
            enlarged = _resized(x, height, width)
            mixed = torch.lerp(enlarged, noise[index], self.blend_share) if index else enlarged
            x = self._descend(model, mixed if self.blend == "noise" else enlarged, targets, full, steps)
            if self.blend == "previous" and index:
                x = torch.lerp(x, enlarged, self.blend_share)
        return x

    def _descend(self, model: nn.Module, x: Tensor, targets: Tensor, full: tuple[int, int], steps: int) -> Tensor:
        height, width = x.shape[2:]
        first = self.step_size * (height * width / (full[0] * full[1])) ** 0.5
        for step in range(steps):
            x = x.detach().requires_grad_(True)
            loss = class_loss(model(_resized(x, *full)), targets, self.objective)
            if self.total_variation:
                loss = loss + self.total_variation * total_variation(x).sum()
            (gradient,) = torch.autograd.grad(loss, x)
            x = x.detach() - first * share_left(self.schedule, step / steps) * NORMS["l2"].direction(gradient)
            x = self.after_step(x, (step + 1) / steps).clamp(0, 1)
        return x.detach()


def _resized(x: Tensor, height: int, width: int) -> Tensor:
    """Bilinear; `x` itself where it has that size."""
    if x.shape[2:] == (height, width):
        return x
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Gaussian of standard deviation `sigma` pixels over (N, C, H, W); weights at the border are normalised, so
    that a constant image stays as it is and none leaves its range.
    """
    if sigma < 0.1:  # weights of neighbors below 1e-21
        return x
    return _blur_matrix(x.shape[2], sigma, x) @ x @ _blur_matrix(x.shape[3], sigma, x).T


def _blur_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    place = torch.arange(size, device=like.device, dtype=like.dtype)
    return (-(place[:, None] - place).square() / (2 * sigma**2)).softmax(1)
