"""Reads back what the stage `query` kept of several replicas, as membership attacks get it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from benchmark.data.members.pools import Pools
from benchmark.membership.signals import Shadows, Signals
from benchmark.stages.shared.inputs import sample, suite_pools_key
from benchmark.trials import trial
from benchmark.trials.trial import Context

MOST_AUXILIARY = 2000
"""Images of the auxiliary pool that are asked about: enough for a population; all would cost as much as the private."""
Query = Mapping[str, Tensor]
"""The tensors of one trial of `query`."""


def auxiliary_ids(context: Context, pools: Pools) -> Tensor:
    """Ids of the auxiliary images that every model of the suite is asked about: a random choice."""
    return sample(
        pools.auxiliary, MOST_AUXILIARY, trial.generator(suite_pools_key(context), "queried auxiliary images")
    )


def queries_of(context: Context) -> dict[int, Query]:
    """Replica -> what was kept of it, in their order. Of a trial with the inputs query_0, query_1, ..."""
    roles = {int(role.removeprefix("query_")): role for role in context.trial.inputs if role.startswith("query_")}
    return {replica: context.tensors(roles[replica]) for replica in sorted(roles)}


def signals_of(query: Query) -> Signals:
    return Signals(query["margins"], query["adversarial"], query["auxiliary"])


def shadows_of(queries: Mapping[int, Query], pair: int) -> Shadows:
    """All replicas but those of this pair: a target is no shadow of itself, and its mate's members are its non-members.

    Replicas 2j and 2j + 1 are pair j.
    """
    others = [replica for replica in queries if replica // 2 != pair]
    some = next(iter(queries.values()))

    def stacked(name: str) -> Tensor:
        parts = [queries[replica][name] for replica in others]
        return torch.stack(parts) if parts else some[name].new_zeros((0, *some[name].shape))  # no shadow

    signals = Signals(stacked("margins"), stacked("adversarial"), stacked("auxiliary"))
    pairs = torch.tensor([replica // 2 for replica in others], dtype=torch.int64)
    return Shadows(signals, stacked("is_member"), stacked("never_seen"), pairs)
