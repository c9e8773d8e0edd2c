"""Attack a model's inputs and keep the outcome of every image."""

from typing import cast

import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.evasion.given import Given
from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import to_float
from benchmark.registry import EvasionField
from benchmark.stages.predict import accuracy, difference
from benchmark.stages.shared.handed_in import HandedIn, read
from benchmark.stages.shared.inputs import (
    load_target,
    named_file,
    replica_of,
    sample,
    sampled_test_ids,
    suite_pools_key,
)
from benchmark.stages.shared.judged_attack import evaded
from benchmark.trials import trial
from benchmark.trials.trial import Context, Outcome, Row, Stage

MOST_KEPT = 2**28
"""Bytes of adversarial images that a trial keeps of a pool: all of 1,000 images of 256 x 256 pixels and one channel."""


class Evade(Stage):
    """Inputs: pools, target. Attacks the same random test images under every model.

    num_members: members attacked as well, for the robust generalization gap; 0 for none.
    Writes for `test` and `members`: `<pool>_clean`, `<pool>_robust` (N,) bool, `<pool>_distance`, `<pool>_loss` (N,);
    and the images that fooled the model, so that nobody has to believe it: `<pool>_adversarial` (F, C, H, W), those of
    the first F of the images that were right before the attack and not under it, all of them up to `MOST_KEPT` bytes.
    Also the table `curve`, the mean loss after each step; `test_ids` (N,), places among the data set's test images, and
    `members_ids`, among its training and then its test images; where images were handed in, `test_handed_in` (N,) bool,
    of which; and of an ensemble `<pool>_only_black_box` (N,) bool, see `Perturbed.by_black_box`.
    """

    attack: EvasionField
    num_images: int = Field(default=1000, ge=1, le=1_000_000_000)
    num_members: int = Field(default=0, ge=0, le=1_000_000_000)
    batch_size: int = Field(default=250, ge=1, le=1_000_000)

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        ids = sampled_test_ids(context, pools, self.num_images)
        images, attack = data.test_images[ids], cast(Evasion, self.attack)
        kept = {"test_ids": ids}
        if isinstance(attack, Given):
            moved, kept["test_handed_in"] = _handed_in(context, attack, data.test_images).placed(ids, to_float(images))
            attack = attack.with_images(moved)
        tensors, curve = self._attack(context, attack, model, images, data.test_labels[ids], "test")
        tensors |= kept
        if self.num_members:
            members = pools.members(replica_of(context, "target"))
            drawn = trial.generator(suite_pools_key(context), "evaded members")
            ids = sample(members, self.num_members, drawn)
            more, _ = self._attack(context, attack, model, data.pixels(ids), data.classes(ids), "members")
            tensors |= more | {"members_ids": ids}
        steps = pa.table({"step": range(len(curve)), "loss": curve.double().numpy()})
        rows = self._rows(tensors)
        if remark := attack.remark(len(data.class_names)):
            rows[0]["note"] = "; ".join(filter(None, (rows[0].get("note"), remark)))
        return Outcome(rows=rows, tensors=tensors, tables={"curve": steps})

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the outcome of every image."""
        return self._rows(context.own_tensors())

    def _attack(
        self, context: Context, attack: Evasion, model: Classifier, images: Tensor, labels: Tensor, pool: str
    ) -> tuple[dict[str, Tensor], Tensor]:
        """(outcome of every image by name, mean loss after each step)."""
        name, generator = registry.titled("evasion", attack), context.generator(pool)
        parts: list[tuple[Tensor, ...]] = []
        fooling: list[Tensor] = []
        curves: list[Tensor] = []
        left = MOST_KEPT // (4 * images[0].numel())
        for batch in evaded(attack, name, model, images, labels, generator, self.batch_size, context.device):
            alone = () if batch.by_black_box is None else (batch.by_black_box,)
            parts.append(tuple(t.cpu() for t in (batch.clean, batch.robust, batch.distance, batch.loss, *alone)))
            fooling.append(batch.images[batch.clean & ~batch.robust][:left].cpu().contiguous())
            left -= len(fooling[-1])
            curves.append(batch.curve * len(batch.images) / len(images))
        names = ("clean", "robust", "distance", "loss", "only_black_box")[: len(parts[0])]
        joined = {f"{pool}_{name}": torch.cat(part) for name, part in zip(names, zip(*parts, strict=True), strict=True)}
        return joined | {f"{pool}_adversarial": torch.cat(fooling)}, _sum_padded(curves)

    def _rows(self, outcomes: dict[str, Tensor]) -> list[Row]:
        clean, robust, distance = (outcomes[f"test_{name}"] for name in ("clean", "robust", "distance"))
        rows = [accuracy("robust_accuracy", robust)]
        if "test_handed_in" in outcomes:
            there = outcomes["test_handed_in"]
            rows[0]["note"] = f"handed in: {int(there.sum())} of the {len(there)} images; the others are clean"
        if int(clean.sum()):
            rows.append(accuracy("attack_success_rate", ~robust[clean]))
        else:
            rows.append(Row(metric="attack_success_rate", value=None, n=0, note="no image was classified right"))
        rows.append(Row(metric="mean_distance", value=float(distance.double().mean()), n=len(distance)))
        if "test_only_black_box" in outcomes:
            rows.append(accuracy("only_black_box", outcomes["test_only_black_box"]))
        if self.num_members:
            of_members = outcomes["members_robust"]
            rows.append(accuracy("robust_accuracy_members", of_members))
            rows.append(difference("robust_generalization_gap", of_members, robust))
        return rows


def _handed_in(context: Context, attack: Given, test_images: Tensor) -> HandedIn:
    """The file that the attack names. Raises ValueError if it is not as it was planned."""
    assert attack.sha256 is not None
    return read(named_file(context, attack.sha256), test_images)


def _sum_padded(curves: list[Tensor]) -> Tensor:
    """Sum of curves; one that ended early, since every image was fooled, stays at its last value."""
    length = max(len(curve) for curve in curves)
    full = [torch.cat([c, c[-1:].expand(length - len(c))]) if len(c) else torch.zeros(length) for c in curves]
    return torch.stack(full).sum(0)
