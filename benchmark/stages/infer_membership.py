"""Membership inference against one replica, with what other pairs of replicas teach the attacker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from benchmark import registry, stats
from benchmark.data.members.pools import MOST_REPLICAS
from benchmark.membership.attack import MembershipAttack, checked
from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.registry import MembershipField
from benchmark.stages.shared.queried import Query, queries_of, shadows_of, signals_of
from benchmark.trials.trial import Context, Outcome, Row, Stage

FALSE_POSITIVE_RATES = {"tpr_at_1pct_fpr": 0.01, "tpr_at_0_1pct_fpr": 0.001}
PRIOR = 0.1
"""Share of members among the images that an attacker asks about, for the precision."""
MOST_JUDGED = 8
"""Shadow models that are scored as if they were the target; the first ones."""
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Inferred:
    """scores: (P,) float64 of the target. threshold: of best balanced accuracy over shadow models, `score > threshold`
    says member. shadow_auc: mean AUC over them. Both None where `note` says why.
    """

    scores: Tensor
    threshold: float | None = None
    shadow_auc: float | None = None
    note: str | None = None


def inferred(attack: MembershipAttack, queries: Mapping[int, Query], replica: int, images: Images) -> Inferred:
    """Scores of one replica as the target, and what is known of the attack from the other pairs.

    queries: replica -> what it was asked. Of the target's pair the attack sees the target's signals, and nothing else.
    Each shadow model is scored as the target is, by the pairs that are neither its own nor the target's.
    """
    name, num_images = registry.titled("membership", attack), len(images.labels)

    def run(target: Signals, shadows: Shadows) -> Tensor:
        return checked(attack.scores(target, shadows, images), num_images, name)

    shadows = shadows_of(queries, replica // 2)
    scores = run(signals_of(queries[replica]), shadows)
    num_pairs = len(shadows.pair.unique())
    if num_pairs < attack.num_pairs + 1:
        needed = 2 * (attack.num_pairs + 1)
        note = f"a threshold comes from {needed} replicas or more of other pairs, and there are {len(shadows.pair)}"
        return Inferred(scores, note=note)
    found, truths = [], []
    for index, pair in enumerate(shadows.pair[:MOST_JUDGED].tolist()):
        judged = shadows.trained_on[index] | shadows.never_seen[index]
        found.append(run(shadows.signals.of(index), shadows.without(pair))[judged].numpy())
        truths.append(shadows.trained_on[index][judged].numpy())
    threshold = stats.best_threshold(np.concatenate(found), np.concatenate(truths))
    area = float(np.mean([stats.auc(*pair) for pair in zip(found, truths, strict=True)]))
    return Inferred(scores, threshold, area)


class InferMembership(Stage):
    """Inputs: query_0, query_1, ... of all replicas of a model, shadow models included; of attacks that need features
    also embed and embed_auxiliary.

    Writes the table `scores`, a row a private image: `image_id`, `label`, `group`, `score`, `is_member`, and `judged`,
    whether it counts: a member, or of the half that the model is judged against and no near-duplicate of a member.
    """

    VERSION = 2
    """1 counted every private image that is no member as a non-member, and took its threshold from the mate."""
    attack: MembershipField
    replica: int = Field(ge=0, lt=MOST_REPLICAS)

    def run(self, context: Context) -> Outcome:
        queries, attack = queries_of(context), cast(MembershipAttack, self.attack)
        own = queries[self.replica]
        found = inferred(attack, queries, self.replica, _images(context, attack, own["label"]))
        judged = own["is_member"] | (own["is_out"] & own["never_seen"])
        columns = {name: own[name].numpy() for name in ("image_id", "label", "group")}
        columns |= {"score": found.scores.numpy(), "is_member": own["is_member"].numpy(), "judged": judged.numpy()}
        rows = _rows(found, found.scores[judged].numpy(), own["is_member"][judged].numpy())
        return Outcome(rows=rows, tables={"scores": pa.table(columns)})

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from what every replica said of every image."""
        return self.run(context).rows


def _images(context: Context, attack: MembershipAttack, labels: Tensor) -> Images:
    if not attack.needs_features:
        return Images(labels, torch.zeros(len(labels), 0), labels[:0], torch.zeros(0, 0))
    auxiliary = context.tensors("embed_auxiliary")
    return Images(labels, context.tensors("embed")["private"], auxiliary["label"], auxiliary["features"])


def _rows(found: Inferred, scores: Floats, truth: Bools) -> list[Row]:
    """scores, truth: (N,) of the images that count."""
    area = stats.replicated_auc([(scores, truth)])
    rows = [Row(metric="membership_auc", value=area.value, low=area.low, high=area.high, n=area.n)]
    rows += [_found_at(metric, rate, scores, truth) for metric, rate in FALSE_POSITIVE_RATES.items()]
    rows += _at_threshold(found, scores, truth)
    rows.append(Row(metric="shadow_auc", value=found.shadow_auc, note=found.note))
    return rows


def _found_at(metric: str, fpr: float, scores: Floats, truth: Bools) -> Row:
    num_members = int(truth.sum())
    try:
        share = stats.tpr_at_fpr(scores, truth, fpr)
    except ValueError as error:  # too few non-members to resolve this rate: empty, with the reason
        return Row(metric=metric, value=None, n=num_members, note=str(error))
    rate = stats.clopper_pearson(share * num_members, num_members)
    return Row(metric=metric, value=rate.value, low=rate.low, high=rate.high, n=rate.n)


def _at_threshold(found: Inferred, scores: Floats, truth: Bools) -> list[Row]:
    """Balanced accuracy, and the precision at a prior of `PRIOR`: the share of those called members that are."""
    names, n = ("membership_balanced_accuracy", "membership_precision"), len(truth)
    if found.threshold is None:
        return [Row(metric=name, value=None, n=n, note=found.note) for name in names]
    called = scores > found.threshold
    hits, false_alarms = float(called[truth].mean()), float(called[~truth].mean())
    rows = [Row(metric=names[0], value=stats.balanced_accuracy(scores, truth, found.threshold), n=n)]
    if not called.any():
        return [*rows, Row(metric=names[1], value=None, n=n, note="no image is called a member")]
    value = PRIOR * hits / (PRIOR * hits + (1 - PRIOR) * false_alarms)
    return [*rows, Row(metric=names[1], value=value, n=n)]
