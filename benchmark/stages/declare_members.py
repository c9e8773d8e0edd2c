"""Who is in and who is out of a model that was trained elsewhere."""

import torch
from pydantic import Field

from benchmark.data.declared import declared_pools, read_members
from benchmark.registry import DataField
from benchmark.stages.inputs import load_data, named_file
from benchmark.trial import Context, Outcome, Row, Stage


class DeclareMembers(Stage):
    """Input: pools, the suite's. Writes the tensors of `benchmark.data.declared.declared_pools`.

    It stands in for `pools` in every trial of the model, and so names the data set, too. Declared members are the
    first `first` training images, or those that the file of this sha256 lists; without either, all.
    """

    data: DataField
    first: int | None = Field(default=None, ge=1)
    sha256: str | None = None

    def run(self, context: Context) -> Outcome:
        data, _ = load_data(context)
        members = torch.arange(self.first if self.first is not None else len(data.labels))
        if self.sha256 is not None:
            members = read_members(named_file(context, self.sha256), len(data.labels))
        duplicate_cosine = context.parent("pools").stage["pools"]["duplicate_cosine"]
        generator = context.generator("declared members")
        tensors = declared_pools(data, context.tensors("pools"), members, duplicate_cosine, generator)
        num_test = int((tensors["non_members"] >= len(data.labels)).sum())
        rows = [
            Row(metric="num_members_compared", value=float(len(tensors["members"]))),
            Row(metric="num_non_members_compared", value=float(len(tensors["non_members"]))),
            Row(metric="num_non_members_from_test", value=float(num_test)),
        ]
        return Outcome(rows=rows, tensors=tensors)
