"""Auto-PGD: projected gradient ascent with momentum that halves its steps where they stop paying."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from benchmark.evasion.ascent import Climbed, ascend
from benchmark.evasion.attack import Losses, Perturbed, fixed
from benchmark.evasion.margin_losses import FEWEST_CLASSES, dlr, log_odds, targeted_dlr
from benchmark.evasion.norms import NORMS
from benchmark.evasion.pooled import PooledEvasion, pool_logits
from benchmark.evasion.target_order import CANDIDATES, TargetOrder, almost_linear, by_logits
from benchmark.machine.copies import rows_where
from benchmark.spec import Fraction, SpecError

_LOSSES: dict[str, Losses] = {
    "cross_entropy": lambda logits, classes: log_odds(logits, classes[:, 0]),
    "dlr": lambda logits, classes: dlr(logits, classes[:, 0]),
    "targeted_dlr": lambda logits, classes: targeted_dlr(logits, classes[:, 0], classes[:, 1]),
}
"""Of logits (N, K) and classes (N, 2): label and target."""


class APGD(PooledEvasion):
    """Steps of 2 epsilon at first, halved at checkpoints where they did not pay, going on from the best point then.

    loss: `cross_entropy`; `dlr`; `targeted_dlr`, once for each of `targets` classes (fewer where there are fewer),
    one after the other. targets_by: `logits`, the most likely first, or `almost_linear`, see `target_order`.
    An image that is fooled, to whichever class, keeps that point and leaves; one that stands comes back at the point of
    highest cross-entropy among the best of each run. Of few classes see `margin_losses`. Settings and rounding of the
    checkpoints are those of the standard version of the authors' code.
    Differs: `cross_entropy` climbs the log-odds, the same points in the same order but where float32 cannot tell them
    apart; where few images stand, several target classes of each go in one batch. The mean loss on the way is not kept:
    a first step of 2 epsilon leaves it little to rise.
    """

    SOURCE = "Croce and Hein 2020, arXiv 2003.01690"
    TOLD_IF_SET = ("loss",)
    loss: Literal["cross_entropy", "dlr", "targeted_dlr"] = "cross_entropy"
    targets: int = Field(default=9, ge=1, le=100_000)
    targets_by: TargetOrder = "logits"
    steps: int = Field(default=100, ge=1, le=1_000_000)
    restarts: int = Field(default=1, ge=1, le=100_000)
    rho: Fraction = Field(default=0.75, gt=0, le=1)

    @model_validator(mode="after")
    def _targets_have_a_use(self) -> Self:
        for name in ("targets", "targets_by"):
            if self.loss != "targeted_dlr" and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise SpecError(f"{value} has no use with the loss {self.loss}; allowed: with targeted_dlr", (name,))
        return self

    @property
    def passes(self) -> int:
        if self.loss != "targeted_dlr":
            return self.steps * self.restarts
        ordering = CANDIDATES * self.targets if self.targets_by == "almost_linear" else 0
        return self.steps * self.restarts * self.targets + ordering

    def remark(self, num_classes: int) -> str:
        needed = FEWEST_CLASSES.get(self.loss, 2)
        if num_classes >= needed:
            return ""
        return f"{self.loss} needs {needed} classes: of {num_classes} the margin of the logits stands in for it"

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        images = images.contiguous(memory_format=torch.channels_last)
        found, odds = images.clone(), torch.full((len(images),), float("-inf"), device=images.device)
        with fixed(model):
            logits = pool_logits(model, images, batch_size)
            standing = (logits.argmax(1) == labels).nonzero().flatten()
            aims = self._aims(model, images, labels, logits, standing, batch_size)
            while len(standing) and aims:
                # As many runs at once as fill a batch.
                at_once = aims[: max(1, batch_size // len(standing))]
                aims = aims[len(at_once) :]
                climbed = self._climb(model, images, labels, at_once, standing, generator, batch_size)
                standing = _take(climbed, standing, found, odds)
        return Perturbed(found, torch.zeros(0))

    def _aims(
        self, model: nn.Module, images: Tensor, labels: Tensor, logits: Tensor, standing: Tensor, batch_size: int
    ) -> list[Tensor]:
        """One (N,) a run: the class that each image is moved to; of untargeted losses any."""
        if self.loss != "targeted_dlr":
            return [labels] * self.restarts
        table = by_logits(logits, labels, self.targets)
        if self.targets_by == "almost_linear" and len(standing):
            x, y = images[standing], labels[standing]
            table[standing] = almost_linear(model, x, y, self.norm, self.targets, batch_size)
        return [column for column in table.unbind(1) for _ in range(self.restarts)]

    def _climb(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        aims: list[Tensor],
        standing: Tensor,
        generator: torch.Generator,
        batch_size: int,
    ) -> Climbed:
        """A run to each aim over the images that stand: len(aims) times len(standing) rows."""
        ids = standing.repeat(len(aims))
        clean, targets = images[ids], torch.cat([aim[standing] for aim in aims])
        # Drawn for all images: a start does not depend on which others stand.
        starts = [NORMS[self.norm].far_start(images, self.epsilon, generator)[standing] for _ in aims]
        start = torch.cat(starts).add_(clean).clamp_(0, 1)
        return ascend(
            model, clean, start, torch.stack([labels[ids], targets], 1), ids, len(images), _LOSSES[self.loss],
            norm=self.norm, epsilon=self.epsilon, steps=self.steps, rho=self.rho, batch_size=batch_size,
        )  # fmt: skip


def _take(climbed: Climbed, standing: Tensor, found: Tensor, odds: Tensor) -> Tensor:
    """Write what fools, else what raised the log-odds most so far, to `found` and `odds`; gives who still stands.

    climbed: of each of these images, run by run.
    """
    runs = len(climbed.odds) // len(standing)
    reached, run = climbed.odds.masked_fill(climbed.fooled, float("inf")).view(runs, -1).max(0)
    points = climbed.points.unflatten(0, (runs, -1))[run, torch.arange(len(standing), device=run.device)]
    higher, stands = rows_where(reached > odds[standing], reached < float("inf"))
    found[standing[higher]] = points[higher]
    odds[standing[higher]] = reached[higher]
    return standing[stands]
