"""The first trial of a suite: cut the data set into pools."""

import torch

from benchmark.data.members.pools import PoolsSpec, make_pools
from benchmark.registry import DataField
from benchmark.stages.shared.inputs import planned_data
from benchmark.trials.trial import Context, Outcome, Row, Stage


class MakePools(Stage):
    """Writes the tensors of `benchmark.data.members.pools.make_pools`.

    fingerprint: sha256 of the data's content when the suite was planned; other content is refused, so that equal
    trials have equal data on every machine.
    """

    data: DataField
    fingerprint: str
    pools: PoolsSpec

    def run(self, context: Context) -> Outcome:
        images = planned_data(context, self.data, self.fingerprint)
        tensors = make_pools(images, self.pools, context.generator("pools"), context.device)
        used = torch.cat([tensors["auxiliary"], tensors["private"]])
        duplicated = tensors["group"].bincount()[tensors["group"][used]] > 1
        rows = [Row(metric=f"num_{name}", value=float(len(tensors[name]))) for name in ("auxiliary", "private", "test")]
        rows.append(Row(metric="duplicate_share", value=float(duplicated.double().mean()), n=len(used)))
        return Outcome(rows=rows, tensors=tensors)
