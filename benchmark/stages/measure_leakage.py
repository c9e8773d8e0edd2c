"""What reconstructions show: the class (invertibility), and the members (train-specificity)."""

from collections.abc import Iterator

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.images import ImageData
from benchmark.data.members.pools import Pools
from benchmark.memorization import invertibility, train_specificity
from benchmark.metrics import measured_by
from benchmark.schema import EVALUATORS, SPACES
from benchmark.stages.find_neighbors import whitened
from benchmark.stages.shared import example_images
from benchmark.stages.shared.inputs import apply, input_info, load_data, load_model, replica_of
from benchmark.stages.shared.samples import Samples, rows_of
from benchmark.trials.trial import Context, Outcome, Row, Stage


class Leakage(Stage):
    """Inputs: as `FindNeighbors`, and neighbours (its trial). What a replica's reconstructions show.

    Writes the table `samples` (one value a reconstruction and metric) and those of `pictures`.
    shown_neighbours: nearest members that the pictures keep of each reconstruction.
    """

    VERSION = 2
    shown_neighbours: int = Field(default=5, ge=1, le=1_000)

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        made = context.tensors("inversion")
        near = context.tensors("neighbours")
        replica = replica_of(context, "target")
        members = pools.members(replica)
        samples = Samples(made["targets"])
        samples.add("", "target_confidence", made["confidence"])
        correct = torch.ones(len(made["targets"]), dtype=torch.bool)
        for space in EVALUATORS:
            correct &= _judge(context, space, data, pools, members, samples)
        correlation = invertibility.class_mean_correlation(
            made["images"], made["targets"], data.pixels(members), data.classes(members)
        )
        samples.add("pixel", "class_mean_correlation", correlation)
        rows: list[Row] = []
        for space in SPACES:
            rows += _specificity(space, near, data, members, samples)
        sides = {"in": members, "out": pools.non_members(replica)}
        judged = {"correct": correct, "correlation": correlation}
        shown = example_images.tables(data, made, near, sides, judged, self.shown_neighbours)
        tables = {"samples": samples.table(), **shown}
        return Outcome(rows=[*samples.rows(context.trial.key), *rows], tables=tables)

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the value of every reconstruction and its nearest neighbors."""
        pools = Pools(context.tensors("pools"), context.trial.inputs["pools"])
        members, near = pools.members(replica_of(context, "target")), context.tensors("neighbours")
        rows = rows_of(context.own_table("samples"), context.trial.key)
        return rows + [row for space in SPACES for row in _exposure(space, near, members)]


def _judge(context: Context, space: str, data: ImageData, pools: Pools, members: Tensor, samples: Samples) -> Tensor:
    """Add an evaluator's view; returns (N,) bool: it gives the target class."""
    made = context.tensors("inversion")
    targets = made["targets"]
    evaluator = load_model(context, space, input_info(data, pools))
    logits = apply(evaluator, made["images"], context.device)
    right = logits.argmax(1) == targets
    samples.add(space, "evaluator_accuracy", right)
    if logits.shape[1] > 10:
        top5 = (logits.topk(5).indices == targets[:, None]).any(1)
        samples.add(space, "evaluator_top5_accuracy", top5)
    whitener, private = whitened(context, space)
    features = whitener(apply(evaluator.features, made["images"], context.device))
    gallery, labels = private[torch.searchsorted(pools.private, members)], data.classes(members)
    distance = invertibility.knn_distance(features, targets, gallery, labels)
    samples.add(space, "knn_distance", distance)
    for target in targets.unique().tolist():
        own = features[targets == target]
        if len(own) > 1 and bool((own.norm(dim=1) > 0).all()):
            samples.add_class(space, "diversity", target, invertibility.diversity(own))
            samples.add_class(space, "vendi_score", target, invertibility.vendi_score(own))
        for metric in measured_by("leakage"):
            if metric.of_features and len(own) > 1:
                samples.add_class(space, metric.metric, target, metric.load()(own, gallery[labels == target]))
    return right


def _specificity(
    space: str, near: dict[str, Tensor], data: ImageData, members: Tensor, samples: Samples
) -> Iterator[Row]:
    """Add a space's nearest neighbors; yields the rows that belong to no single reconstruction."""
    s_in, s_out = near[f"{space}_in_cosines"][:, 0], near[f"{space}_out_cosines"][:, 0]
    samples.add(space, "cosine_nn_in", s_in)
    samples.add(space, "cosine_nn_out", s_out)
    samples.add(space, "in_rate", train_specificity.in_wins(s_in, s_out))
    samples.add(space, "memorization_gap", train_specificity.memorization_gap(s_in, s_out))
    labels = data.classes(near[f"{space}_in_ids"])
    samples.add(space, "neighbour_purity_at_k", train_specificity.neighbour_purity_at_k(labels, samples.targets))
    yield from _exposure(space, near, members)


def _exposure(space: str, near: dict[str, Tensor], members: Tensor) -> Iterator[Row]:
    """The rows that belong to no single reconstruction."""
    s_in, s_out = near[f"{space}_in_cosines"][:, 0], near[f"{space}_out_cosines"][:, 0]
    counts = train_specificity.exposure_counts(near[f"{space}_in_ids"][:, 0], members)
    n = len(s_in)
    yield Row(space=space, metric="exposure_gini", value=train_specificity.gini(counts), n=n)
    yield Row(space=space, metric="exposure_effective_number", value=train_specificity.effective_number(counts), n=n)
    ratio, note = train_specificity.distance_ratio(s_in, s_out)
    yield Row(space=space, metric="distance_ratio", value=ratio, n=n, note=note)
