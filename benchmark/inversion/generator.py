"""GAN-type inversion: search the latents of a generator of auxiliary images for what the target takes for a class."""

from typing import Literal, Self, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from benchmark.evasion.attack import channels_last, folded, frozen
from benchmark.inversion.attack import Inversion, Victim
from benchmark.inversion.dcgan import DCGAN
from benchmark.inversion.descent import MOST_WEIGHT
from benchmark.inversion.prior import Prior, Sampler
from benchmark.registry import PriorField
from benchmark.search_space import Choice, LogUniform, Space, around
from benchmark.spec import Fraction, SpecError


class GeneratorInversion(Inversion):
    """Adam on the latent of a class-conditional generator; the class stays fixed.

    A sample minimises the target's loss, plus `realism` times what the discriminator's score lacks to 1, where its
    training called an image real, plus `latent_weight` times the squared difference between 1 and the mean square of
    its latent, whose entries are standard normal in training. It begins with `candidates` latents. After each round
    the better half by that same objective goes on from its best latent: successive halving (Jamieson and Talwalkar
    2016). All that chooses is the target's output and the attacker's own networks.

    steps: passes through the target for each sample, over all its candidates; rounds have equal shares. 0: the
    generator alone, without any target. objective: `cross_entropy`, or `margin` of the logit over the next, which
    does not saturate. lr: of Adam, falling linearly to 0. batch_size: images that go through the target at once.
    prior: the generator, trained once a suite.
    """

    SOURCE = "Mejia et al. 2019, GAN-type; settings are not published; search as in Zhang et al. 2020 (GMI)"
    steps: int = Field(default=200, ge=0, le=10_000_000)
    candidates: int = Field(default=4, ge=1, le=1_000_000)
    objective: Literal["cross_entropy", "margin"] = "cross_entropy"
    lr: Fraction = Field(default=0.03, gt=0, le=1_000)
    latent_weight: Fraction = Field(default=1.0, ge=0, le=MOST_WEIGHT)
    realism: Fraction = Field(default=0.5, ge=0, le=MOST_WEIGHT)
    batch_size: int = Field(default=256, ge=1, le=1_000_000)
    prior: PriorField = DCGAN()

    @model_validator(mode="after")
    def _enough_steps(self) -> Self:
        if self.steps and not all(steps for _, steps in self.rounds()):
            needed = self.candidates * len(self.rounds())
            raise SpecError(f"{self.steps} steps are too few for {self.candidates} candidates; allowed: {needed} or 0")
        return self

    @property
    def passes(self) -> int:
        return self.steps

    @property
    def learned_prior(self) -> Prior:
        return cast(Prior, self.prior)

    @property
    def search_space(self) -> Space:
        enough = [count for count in (1, 2, 4, 8) if self.steps >= count * len(self._counts(count))]
        return {
            "lr": around(self.lr),
            "latent_weight": LogUniform(0.01, 10.0),
            "realism": LogUniform(0.05, 5.0),
            "objective": Choice(("cross_entropy", "margin")),
            "candidates": Choice(tuple(enough)),
        }

    def without_target(self) -> "GeneratorInversion":
        return self.model_copy(update={"steps": 0})

    def rounds(self) -> list[tuple[int, int]]:
        """(candidates, steps of each) of every round; their products add up to `steps`."""
        counts = self._counts(self.candidates)
        share = self.steps // len(counts)
        plan = [(count, share // count) for count in counts[:-1]]
        return [*plan, (1, self.steps - sum(count * steps for count, steps in plan))]

    @staticmethod
    def _counts(candidates: int) -> list[int]:
        """Candidates of every round."""
        counts = [candidates]
        while counts[-1] > 1:
            counts.append((counts[-1] + 1) // 2)
        return counts

    def reconstruct(self, victim: Victim, generator: torch.Generator) -> Tensor:
        targets = self.targets(victim.num_classes)
        sampler = self.learned_prior.sampler(victim.shape, victim.num_classes, victim.prior).to(victim.device)
        # All latents are drawn before the batches are cut: batch_size changes no start.
        latents = torch.randn(len(targets), self.candidates, sampler.latent, generator=generator)
        at_once = max(1, self.batch_size // self.candidates)
        done = []
        with frozen(victim.model), channels_last(victim.model), folded(victim.model):
            for begin in range(0, len(targets), at_once):
                z = latents[begin : begin + at_once].to(victim.device)
                y = targets[begin : begin + at_once].to(victim.device)
                found = self._search(victim.model, sampler, z, y)
                with torch.no_grad():
                    done.append(sampler(found, y).cpu())
        return torch.cat(done).contiguous()

    def _search(self, model: nn.Module, sampler: Sampler, latents: Tensor, targets: Tensor) -> Tensor:
        """(N, candidates, D) -> (N, D): the best latent of each sample."""
        if not self.steps:
            return latents[:, 0]
        rounds = self.rounds()
        length, done = sum(steps for _, steps in rounds), 0
        for count, steps in rounds:
            if count < latents.shape[1]:
                latents = latents[:, :count]  # sorted by the round before
            lengths = [self.lr * (1 - (done + i) / length) for i in range(steps)]
            latents, losses = self._descend(model, sampler, latents, targets, lengths)
            order = losses.argsort(dim=1, stable=True)
            latents = latents.gather(1, order[:, :, None].expand_as(latents))
            done += steps
        return latents[:, 0]

    def _descend(
        self, model: nn.Module, sampler: Sampler, latents: Tensor, targets: Tensor, lengths: list[float]
    ) -> tuple[Tensor, Tensor]:
        """Best latent (N, n, D) and its loss (N, n) among those that went through the target."""
        y = targets.repeat_interleave(latents.shape[1])
        z = latents.flatten(0, 1).clone().requires_grad_(True)
        adam = torch.optim.Adam([z], betas=(0.9, 0.99))
        best, lowest = z.detach().clone(), torch.full((len(z),), float("inf"), device=z.device)
        for length in lengths:
            adam.param_groups[0]["lr"] = length
            loss = self.loss(model, sampler, z, y)
            (z.grad,) = torch.autograd.grad(loss.sum(), z)
            with torch.no_grad():
                better = loss.detach() < lowest
                best = torch.where(better[:, None], z, best)
                lowest = torch.where(better, loss, lowest)
            adam.step()
        if not bool(loss.isfinite().all()):  # NaN is no better than what was found before it
            raise FloatingPointError("generator: the loss is NaN or infinite; does the network give numbers?")
        return best.view_as(latents), lowest.view(latents.shape[:2])

    def loss(self, model: nn.Module, sampler: Sampler, latents: Tensor, targets: Tensor) -> Tensor:
        """(M, D), (M,) -> (M,): what the search lowers, and all it chooses by."""
        images = sampler(latents, targets)
        logits = model(images).float()
        if self.objective == "cross_entropy":
            loss = functional.cross_entropy(logits, targets, reduction="none")
        else:
            own = targets[:, None]
            loss = logits.scatter(1, own, -torch.inf).amax(1) - logits.gather(1, own)[:, 0]
        if self.latent_weight:
            loss = loss + self.latent_weight * (latents.square().mean(1) - 1).square()
        if self.realism:
            loss = loss + self.realism * functional.relu(1 - sampler.realism(images, targets))
        return loss
