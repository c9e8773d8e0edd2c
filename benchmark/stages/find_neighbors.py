"""The nearest members and non-members of every reconstruction, in every feature space."""

from collections.abc import Callable
from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from benchmark.memorization.whitening import Whitener
from benchmark.neighbors import cosine_knn
from benchmark.schema import EVALUATORS
from benchmark.stages.shared.inputs import apply, input_info, load_data, load_model, replica_of
from benchmark.trials.trial import Context, Outcome, Stage


class FindNeighbors(Stage):
    """Inputs: pools, target, inversion, evaluator, evaluator_robust, embed, embed_robust.

    Spaces: `target`, the attacked model's features as they are (the paper's); `evaluator` and
    `evaluator_robust`, centred and whitened on the auxiliary pool; `pixel`, minus the auxiliary mean.
    Writes for each space `<space>_{in,out}_ids` (N, k), ids of images (see `ImageData`), and
    `<space>_{in,out}_cosines` (N, k).
    """

    k: int = Field(default=50, ge=1, le=100_000)

    def run(self, context: Context) -> Outcome:
        data, pools = load_data(context)
        info = input_info(data, pools)
        replica = replica_of(context, "target")
        images = context.tensors("inversion")["images"]
        target = load_model(context, "target", info)
        sides = {"in": pools.members(replica), "out": pools.non_members(replica)}
        tensors: dict[str, Tensor] = {}

        def search(space: str, queries: Tensor, gallery: Callable[[Tensor], Tensor]) -> None:
            for side, ids in sides.items():
                cosines, found = cosine_knn(queries, gallery(ids), min(self.k, len(ids)), context.device)
                tensors[f"{space}_{side}_cosines"], tensors[f"{space}_{side}_ids"] = cosines, ids[found]

        search(
            "target",
            apply(target.features, images, context.device),
            lambda ids: apply(target.features, data.pixels(ids), context.device),
        )
        for space in EVALUATORS:
            whitener, private = whitened(context, space)
            evaluator = load_model(context, space, info)
            queries = whitener(apply(evaluator.features, images, context.device))
            search(space, queries, partial(_of, private, pools.private))
        mean = data.pixels(pools.auxiliary).float().mean(0).flatten() / 255
        search("pixel", images.flatten(1) - mean, lambda ids: data.pixels(ids).flatten(1).float() / 255 - mean)
        return Outcome(tensors=tensors)


def _of(features: Tensor, feature_ids: Tensor, ids: Tensor) -> Tensor:
    """Rows of `features` (P, D) that belong to `ids`; feature_ids: (P,) ascending."""
    return features[torch.searchsorted(feature_ids, ids)]


def whitened(context: Context, space: str) -> tuple[Whitener, Tensor]:
    """The evaluator's whitener, and its whitened features (P, K) of the private pool."""
    found = context.tensors(space.replace("evaluator", "embed"))
    return Whitener(found["mean"], found["projection"]), found["private"]
