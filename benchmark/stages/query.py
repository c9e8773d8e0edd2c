"""Stage `query`: what a model says of every private image, shown in several ways, for membership and memorisation."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from benchmark.data.images import ImageData
from benchmark.data.members.pools import Pools
from benchmark.evasion.attack import channels_last, folded
from benchmark.evasion.norms import LARGEST_L2, NormName
from benchmark.evasion.pgd import perturb_for_training, usual_step_size
from benchmark.membership.signals import margins
from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import to_float
from benchmark.spec import Fraction, Spec
from benchmark.stages.shared.inputs import apply, load_target, replica_of
from benchmark.stages.shared.outputs import finite
from benchmark.stages.shared.queried import auxiliary_ids
from benchmark.trials.trial import Context, Outcome, Stage

SHIFTS = ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 0), (-1, 0), (0, 1), (0, -1))
"""(right, down) in pixels, in their order; what comes in is 0, as in the augmentation of our training."""
_ADVERSARIAL_BATCH = 250
_CPU_BATCH, _GPU_BATCH = 100, 500
"""Images at a time: what a small network makes of 100 stays in a core's cache."""


class Ball(Spec):
    """Where the adversarial version of an image is looked for. steps: of projected gradient ascent, in all of which
    every image takes part: the loss that is reached is the signal, not whether the image was fooled.
    """

    norm: NormName
    epsilon: Fraction = Field(gt=0, le=LARGEST_L2)
    steps: int = Field(ge=1, le=1_000)


class Query(Stage):
    """Inputs: pools, target. Asks about the P private images, and about A of the auxiliary ones.

    mirror: ask about the mirror image, too. shifts: about so many shifted images. ball: about an adversarial version.
    Writes `margins` (P, Q) float64, query 0 the image itself, then its mirror and its shifts; `adversarial` (P, Qa),
    Qa 1, or 0 without a ball; `auxiliary` (A, Q); `correct`, `is_member`, `is_out` (the half that the model is judged
    against), `never_seen` (neither member nor near-duplicate of one) (P,) bool; `image_id`, `label`, `group` (P,).
    """

    mirror: bool = True
    shifts: int = Field(default=0, ge=0, le=len(SHIFTS))
    ball: Ball | None = None

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        ids = pools.private
        sides = _sides(pools, replica_of(context, "target"), ids)
        with channels_last(model), folded(model):
            found, correct = self._asked(model, data, ids, context.device)
            auxiliary, _ = self._asked(model, data, auxiliary_ids(context, pools), context.device)
            adversarial = self._adversarial(model, data, ids, context)
        tensors = {"margins": found, "adversarial": adversarial, "auxiliary": auxiliary, "correct": correct, **sides}
        tensors |= {"image_id": ids, "label": data.classes(ids), "group": pools.groups(ids)}
        return Outcome(tensors=tensors)

    def _asked(self, model: Classifier, data: ImageData, ids: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """(margins (N, Q), whether the image itself is classified right (N,)): all queries while a batch is at hand."""
        labels, queries = data.classes(ids), list(self._queries())
        batch = _CPU_BATCH if device.type == "cpu" else _GPU_BATCH
        ask = partial(_logits, model, queries)
        logits = apply(ask, data.pixels(ids), device, batch)
        found = [margins(logits[:, number], labels) for number in range(len(queries))]
        return finite(torch.stack(found, dim=1), "a margin"), logits[:, 0].argmax(1) == labels

    def _queries(self) -> Iterator[Callable[[Tensor], Tensor]]:
        yield partial(shifted, right=0, down=0)
        if self.mirror:
            yield partial(torch.flip, dims=(3,))
        for right, down in SHIFTS[: self.shifts]:
            yield partial(shifted, right=right, down=down)

    def _adversarial(self, model: Classifier, data: ImageData, ids: Tensor, context: Context) -> Tensor:
        """(N, 1) margins of adversarial versions; (N, 0) without a ball."""
        if self.ball is None:
            return torch.zeros(len(ids), 0, dtype=torch.float64)
        generator, parts = context.generator("adversarial"), []
        step_size = usual_step_size(self.ball.epsilon, self.ball.steps)
        for batch in ids.split(_ADVERSARIAL_BATCH):
            x = to_float(data.pixels(batch).to(context.device, memory_format=torch.channels_last))
            y = data.classes(batch).to(context.device)
            ball = (self.ball.norm, self.ball.epsilon, self.ball.steps)
            worst = perturb_for_training(model, x, y, *ball, step_size, generator)
            with torch.no_grad():
                parts.append(margins(finite(model(worst)), y).cpu())
        return finite(torch.cat(parts)[:, None], "a margin")


def _logits(model: Classifier, queries: list[Callable[[Tensor], Tensor]], images: Tensor) -> Tensor:
    """(N, Q, K)."""
    return torch.stack([model(shown(images)) for shown in queries], dim=1)


def shifted(images: Tensor, right: int, down: int) -> Tensor:
    """Images (N, C, H, W) moved by whole pixels, at least -2 and at most 2; what comes in is 0."""
    if not right and not down:
        return images
    height, width = images.shape[2:]
    padded = functional.pad(images, (2, 2, 2, 2))
    return padded[:, :, 2 - down : 2 - down + height, 2 - right : 2 - right + width]


def _sides(pools: Pools, replica: int, ids: Tensor) -> dict[str, Tensor]:
    """Of the private images, (P,) bool each: members, the other half, and what is no near-duplicate of a member."""
    members = pools.members(replica)
    seen = torch.isin(pools.groups(ids), pools.groups(members))
    return {
        "is_member": torch.isin(ids, members),
        "is_out": torch.isin(ids, pools.non_members(replica)),
        "never_seen": ~seen,
    }
