"""Stage `predict`: a model's accuracy on clean images, and its generalization gap."""

import torch

from benchmark.data.members.pools import Pools
from benchmark.stages.shared.inputs import apply, load_target, replica_of
from benchmark.stats import clopper_pearson, newcombe_difference
from benchmark.trials.trial import Context, Outcome, Row, Stage


class Predict(Stage):
    """Inputs: pools, target. Writes `correct`, `is_member` (P,) bool of the private pool."""

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        logits = apply(model, data.pixels(pools.private), context.device)
        correct = logits.argmax(1) == data.classes(pools.private)
        members, others = _sides(context, pools)
        test_logits = apply(model, data.test_images[pools.test], context.device)
        on_test = test_logits.argmax(1) == data.test_labels[pools.test]
        rows = [
            accuracy("clean_accuracy", on_test),
            *_of_sides(correct, members, others),
            difference("generalization_gap", correct[members], on_test),
        ]
        return Outcome(rows=rows, tensors={"correct": correct, "is_member": members})

    def rederived(self, context: Context) -> list[Row]:
        """The accuracies on the private pool, of which every image's outcome is kept."""
        pools = Pools(context.tensors("pools"), context.trial.inputs["pools"])
        return _of_sides(context.own_tensors()["correct"], *_sides(context, pools))


def _sides(context: Context, pools: Pools) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,) bool each: the target's members and non-members in the private pool."""
    replica = replica_of(context, "target")
    sides = pools.members(replica), pools.non_members(replica)
    return torch.isin(pools.private, sides[0]), torch.isin(pools.private, sides[1])


def _of_sides(correct: torch.Tensor, members: torch.Tensor, others: torch.Tensor) -> list[Row]:
    return [accuracy("member_accuracy", correct[members]), accuracy("non_member_accuracy", correct[others])]


def accuracy(metric: str, correct: torch.Tensor) -> Row:
    """Row of the share of True in (N,) bool."""
    rate = clopper_pearson(int(correct.sum()), len(correct))
    return Row(metric=metric, value=rate.value, low=rate.low, high=rate.high, n=rate.n)


def difference(metric: str, first: torch.Tensor, second: torch.Tensor) -> Row:
    """Row of accuracy on `first` minus accuracy on `second`, (N,) and (M,) bool."""
    gap = newcombe_difference(int(first.sum()), len(first), int(second.sum()), len(second))
    return Row(metric=metric, value=gap.value, low=gap.low, high=gap.high, n=len(first) + len(second))
