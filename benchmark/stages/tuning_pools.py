"""Stage `tuning_pools`: pools for a search, with other halves and test images than any reported replica's."""

import torch
from pydantic import Field

from benchmark.registry import DataField
from benchmark.stages.shared.inputs import EVADED, sample, suite_pools_key
from benchmark.trials import trial
from benchmark.trials.trial import Context, Outcome, Row, Stage


class TuningPools(Stage):
    """Input: pools, the suite's or an external model's. Stands in for it in every trial of a search.

    The auxiliary and the private images are the suite's. Members follow from this trial's own key, so the halves that
    tuning targets train on are cut anew. num_reported: test images that the suite attacks, which are left out; 0 for
    a search that attacks none of them. Raises ValueError if none are left.
    """

    data: DataField
    num_reported: int = Field(ge=0, le=1_000_000_000)

    def run(self, context: Context) -> Outcome:
        tensors = dict(context.tensors("pools"))
        reported = sample(tensors["test"], self.num_reported, trial.generator(suite_pools_key(context), EVADED))
        tensors["test"] = tensors["test"][~torch.isin(tensors["test"], reported)]
        if not len(tensors["test"]):
            raise ValueError(
                f"evaluation.num_images: {self.num_reported} takes all {len(reported)} test images; allowed: fewer, "
                "an evasion attack is tuned on those that are left"
            )
        return Outcome(rows=[Row(metric="num_test", value=float(len(tensors["test"])))], tensors=tensors)
