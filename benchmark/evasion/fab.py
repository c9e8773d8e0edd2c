"""FAB, the fast adaptive boundary attack: the nearest adversarial image rather than one in a given ball."""

import math

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.attack import Perturbed, fixed, input_gradient
from benchmark.evasion.hyperplanes import step_onto
from benchmark.evasion.margin_losses import margin
from benchmark.evasion.norms import NORMS, NormName
from benchmark.evasion.pooled import PooledEvasion, pool_logits
from benchmark.machine.copies import sent, told
from benchmark.spec import Fraction

SEARCHES = 3
"""Steps of the final search between the image and its nearest adversarial one."""
BEYOND = 1e-4
"""Of the clean image's margin: so far past the boundary the final search aims, which no other rounding undoes."""
FURTHEST = 1.01
"""Where the nearest image found lies hardly past the boundary, the final search may go so much further."""


class FAB(PooledEvasion):
    """Projects again and again onto the linearised boundary to each target class, drawn towards the clean image.

    targets: the classes with the largest logits after the true one. alpha_max, eta, beta: the paper's: how much the
    clean image may count in a step, how far a step goes beyond the boundary, how far an image that was found goes on
    from the clean one. restarts: the first from the image itself, the others from random points half as far as the
    nearest found. Pairs of an image and a target queue up for the batch, hardest targets first; all pairs of an image
    leave once one lies in the ball. One forward-backward pass and one forward pass a step.
    """

    SOURCE = "Croce and Hein 2020"
    targets: int = Field(default=9, ge=1, le=100_000)
    steps: int = Field(default=100, ge=1, le=1_000_000)
    restarts: int = Field(default=1, ge=1, le=100_000)
    alpha_max: Fraction = Field(default=0.1, ge=0, le=1)
    eta: Fraction = Field(default=1.05, ge=1, le=10)
    beta: Fraction = Field(default=0.9, gt=0, le=1)

    @property
    def passes(self) -> int:
        return 2 * self.steps * self.targets * self.restarts

    @property
    def forward_only(self) -> int:
        return self.passes // 2

    def smallest_perturbations(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> tuple[Tensor, Tensor]:
        """The nearest adversarial image of each, (N, C, H, W), and its distance in `norm`, (N,); epsilon plays no part.

        Misclassified already: the image itself at 0. Nothing found: the image itself at infinity.
        """
        return self._nearest(model, images, labels, generator, batch_size, enough=0.0)

    def perturb_pool(
        self, model: nn.Module, images: Tensor, labels: Tensor, generator: torch.Generator, batch_size: int
    ) -> Perturbed:
        """An image that stands moves to the edge of its ball, towards the nearest adversarial one that was found.

        No loss on the way: there is none that rises from step to step.
        """
        nearest, distances = self._nearest(model, images, labels, generator, batch_size, enough=self.epsilon)
        shares = (self.epsilon / distances.clamp_min(1e-12)).view(-1, 1, 1, 1)
        moved = torch.where(shares < 1, torch.lerp(images, nearest, shares).clamp_(0, 1), nearest)
        return Perturbed(moved, torch.zeros(0))

    def _nearest(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        batch_size: int,
        enough: float,
    ) -> tuple[Tensor, Tensor]:
        """As `smallest_perturbations`; an image is not looked at any further once it has one at distance `enough`."""
        with fixed(model), torch.no_grad():
            logits = pool_logits(model, images, batch_size)
            others = logits.float().scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
            others = others[:, : min(self.targets, logits.shape[1] - 1)]
            found = _Nearest(images, labels, (logits.argmax(1) == labels), self.norm)
            for restart in range(self.restarts):
                starts = images if restart == 0 else found.random_starts(generator, enough)
                ids = (found.distances > enough).nonzero().flatten()
                queue = torch.stack([ids.repeat(others.shape[1]), others[ids].T.flatten()], 1)
                self._work_off(model, queue, starts, found, batch_size, enough)
                found.refine(model, enough, batch_size)
        return _shaped(found.nearest, images.shape), found.distances

    def _work_off(
        self, model: nn.Module, queue: Tensor, starts: Tensor, found: "_Nearest", batch_size: int, enough: float
    ) -> None:
        """Every pair of the queue, (P, 2) image and target class, takes its steps; a pair that leaves makes room.

        Who is in the queue and in the batch is kept on the CPU, which has to know the sizes.
        """
        queue, device = queue.cpu(), starts.device
        size = math.ceil(len(queue) / math.ceil(len(queue) / batch_size)) if len(queue) else 0  # no last batch of two
        pairs, x, taken = queue[:0], _flat(starts[:0]), queue[:0, 0]
        while True:
            is_open = found.settled(enough)  # a stall of every step: who leaves must be known
            open_ = is_open[pairs[:, 0]]
            if bool((taken == self.steps).any()) or int((~open_).sum()) >= max(1, len(pairs) // 16):
                stay = (open_ & (taken < self.steps)).nonzero().flatten()
                pairs, x, taken = pairs[stay], x[sent(stay, device)], taken[stay]
            if len(pairs) < size and len(queue):
                queue = queue[is_open[queue[:, 0]]]
                fresh, queue = queue[: size - len(pairs)], queue[size - len(pairs) :]
                pairs, x = torch.cat([pairs, fresh]), torch.cat([x, _flat(starts[sent(fresh[:, 0], device)])])
                taken = torch.cat([taken, torch.zeros_like(fresh[:, 0])])
            if not len(pairs):
                return
            x = self._step(model, sent(pairs, device), x, found)
            taken += 1

    def _step(self, model: nn.Module, pairs: Tensor, x: Tensor, found: "_Nearest") -> Tensor:
        """Where each pair goes next, (P, D) as x; whatever adversarial image it meets on its way is noted."""
        ids, clean, labels = pairs[:, 0], found.clean[pairs[:, 0]], found.labels[pairs[:, 0]]
        classes = torch.stack([pairs[:, 1], labels], 1)
        with torch.enable_grad():
            gradient, _, lead = input_gradient(model, _shaped(x, found.shape), classes, _lead)
        weights = _flat(gradient)
        size = NORMS[self.norm].size
        onto = step_onto(x, weights, lead, self.norm)
        from_clean = step_onto(clean, weights, lead + torch.linalg.vecdot(clean - x, weights), self.norm)
        near, far = size(onto), size(from_clean)
        alpha = (near / (near + far).clamp_min(1e-30)).clamp(max=self.alpha_max)[:, None]
        x = torch.lerp(x + self.eta * onto, clean + self.eta * from_clean, alpha).clamp_(0, 1)
        fooled = model(_shaped(x, found.shape)).argmax(1) != labels
        found.note(ids, x, fooled, size(x - clean))
        kept = torch.where(fooled, self.beta, 1.0)
        return torch.lerp(clean, x, kept[:, None])


class _Nearest:
    """The nearest adversarial image found so far of each image, as rows (N, D) in the order of channels last."""

    def __init__(self, images: Tensor, labels: Tensor, right: Tensor, norm: NormName) -> None:
        self.images, self.shape, self.labels, self.geometry = images, images.shape, labels, NORMS[norm]
        self.clean, self.nearest = _flat(images), _flat(images).clone()
        self.distances = torch.where(right, torch.inf, 0.0).to(images)
        self.noted: tuple[Tensor, Tensor, Tensor] | None = None

    def note(self, ids: Tensor, x: Tensor, fooled: Tensor, distances: Tensor) -> None:
        """x: (P, D), images near those of `ids`, of which several may be one image's; (P,) bool, who is adversarial."""
        distances = distances.masked_fill(~fooled, torch.inf)
        nearer = distances < self.distances[ids]
        self.distances.scatter_reduce_(0, ids, distances, "amin")
        self.noted = ids, x, nearer & (distances == self.distances[ids])

    def settled(self, enough: float) -> Tensor:
        """Take in what was noted. (N,) bool, on the CPU: whose nearest is still further than `enough`."""
        if self.noted is None:
            return told(self.distances > enough)[0]
        ids, x, best = self.noted
        is_best, is_open = told(best, self.distances > enough)
        rows = sent(is_best.nonzero().flatten(), x.device)
        self.nearest[ids[rows]], self.noted = x[rows], None
        return is_open

    def random_starts(self, generator: torch.Generator, enough: float) -> Tensor:
        """(N, C, H, W): a random point half as far as the nearest found, or as `enough` where that is nearer."""
        reach = (self.distances.clamp(max=enough) if enough else self.distances.nan_to_num(posinf=0.0)) / 2
        noise = self.geometry.random_start(self.images, 1.0, generator)
        return (self.images + reach.view(-1, 1, 1, 1) * noise).clamp_(0, 1)

    def refine(self, model: nn.Module, enough: float, batch_size: int) -> None:
        """The paper's final search: closes in on the boundary between each image and its nearest one found."""
        ids = ((self.distances > enough) & self.distances.isfinite()).nonzero().flatten()
        if not len(ids):
            return
        clean, labels = self.clean[ids], self.labels[ids]

        def leads(x: Tensor) -> Tensor:
            return -margin(pool_logits(model, _shaped(x, self.shape), batch_size), labels)

        inner, outer = clean, self.nearest[ids]
        inside, outside = leads(inner), leads(outer)
        beyond = BEYOND * inside
        for _ in range(SEARCHES):
            share = ((inside + beyond) / (inside - outside).clamp_min(1e-30)).clamp(0, FURTHEST)
            x = torch.lerp(inner, outer, share[:, None]).clamp_(0, 1)
            lead = leads(x)
            fooled = lead <= -beyond / 2
            inner, outer = torch.where(fooled[:, None], inner, x), torch.where(fooled[:, None], x, outer)
            inside, outside = torch.where(fooled, inside, lead), torch.where(fooled, lead, outside)
        self.nearest[ids], self.distances[ids] = outer, self.geometry.size(outer - clean)


def _lead(logits: Tensor, classes: Tensor) -> Tensor:
    """(N,): logit of the first of two classes, (N, 2), minus that of the second."""
    both = logits.float().gather(1, classes)
    return both[:, 0] - both[:, 1]


def _flat(images: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, D) in the order of channels last, which networks compute fastest in."""
    return images.permute(0, 2, 3, 1).flatten(1)


def _shaped(rows: Tensor, shape: torch.Size) -> Tensor:
    _, channels, height, width = shape
    return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)
