"""Stage `narrow_pools`: the pools of a model that is trained on fewer images than the others of its suite."""

from pydantic import Field

from benchmark.data.members.narrowed import narrowed
from benchmark.registry import DataField
from benchmark.trials.trial import Context, Outcome, Row, Stage


class NarrowPools(Stage):
    """Input: pools, the suite's. Stands in for it in every trial of the model, and so names the data set, too.

    Writes the same tensors; of the private pool only 2 num_members images are left, no two of which are
    near-duplicates: a random choice, stratified by class. The auxiliary and the test images are the suite's.
    """

    data: DataField
    num_members: int = Field(ge=1, le=1_000_000_000)

    def run(self, context: Context) -> Outcome:
        tensors = narrowed(context.tensors("pools"), self.num_members, context.generator("narrow pools"))
        return Outcome(rows=[Row(metric="num_private", value=float(len(tensors["private"])))], tensors=tensors)
