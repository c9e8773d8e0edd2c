"""Membership inference against one replica, with what the other replicas teach the attacker."""

from typing import cast

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from benchmark import registry, stats
from benchmark.membership.attack import MembershipAttack, checked
from benchmark.registry import MembershipField
from benchmark.trials.trial import Context, Outcome, Row, Stage

FALSE_POSITIVE_RATES = {"tpr_at_1pct_fpr": 0.01, "tpr_at_0_1pct_fpr": 0.001}


class InferMembership(Stage):
    """Inputs: predict_0, predict_1, ... of all replicas of a model. Writes the table `scores`."""

    attack: MembershipField
    replica: int = Field(ge=0, le=1024)

    def run(self, context: Context) -> Outcome:
        parts = [context.tensors(f"predict_{i}") for i in range(len(context.trial.inputs))]
        losses, is_member = (torch.stack([part[name] for part in parts]) for name in ("loss", "is_member"))
        attack = cast(MembershipAttack, self.attack)
        found = attack.infer(losses, is_member, self.replica)
        found = checked(found, losses.shape[1], registry.titled("membership", attack))
        truth = is_member[self.replica]
        scores = found.scores.numpy()
        area = stats.replicated_auc([(scores, truth.numpy())])
        rows = [Row(metric="membership_auc", value=area.value, low=area.low, high=area.high, n=area.n)]
        rows += [_found_at(metric, rate, scores, truth) for metric, rate in FALSE_POSITIVE_RATES.items()]
        rows.append(_balanced(found.threshold, found.note, scores, truth))
        table = pa.table({"score": scores, "is_member": truth.numpy()})
        return Outcome(rows=rows, tables={"scores": table})

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the losses of every image under every replica."""
        return self.run(context).rows


def _found_at(metric: str, fpr: float, scores: "np.typing.NDArray[np.float64]", truth: Tensor) -> Row:
    num_members = int(truth.sum())
    try:
        share = stats.tpr_at_fpr(scores, truth.numpy(), fpr)
    except ValueError as error:  # too few non-members to resolve this rate: empty, with the reason
        return Row(metric=metric, value=None, n=num_members, note=str(error))
    rate = stats.clopper_pearson(share * num_members, num_members)
    return Row(metric=metric, value=rate.value, low=rate.low, high=rate.high, n=rate.n)


def _balanced(threshold: float | None, note: str | None, scores: "np.typing.NDArray[np.float64]", truth: Tensor) -> Row:
    if threshold is None:
        return Row(metric="membership_balanced_accuracy", value=None, n=len(truth), note=note)
    value = stats.balanced_accuracy(scores, truth.numpy(), threshold)
    return Row(metric="membership_balanced_accuracy", value=value, n=len(truth))
