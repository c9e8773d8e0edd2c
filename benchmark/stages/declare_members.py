"""Stage `declare_members`: the pools of a model that was trained elsewhere."""

import torch
from pydantic import Field
from torch import Generator, Tensor

from benchmark.data.images import ImageData
from benchmark.data.members.declared import declared_pools
from benchmark.data.members.member_lists import read_members
from benchmark.memorization.sides import compare_sides
from benchmark.registry import DataField
from benchmark.stages.shared.inputs import load_data, named_file
from benchmark.trials.trial import Context, Outcome, Row, Stage

_NUM_QUERIES = 500


class DeclareMembers(Stage):
    """Input: pools, the suite's. Writes the tensors of `benchmark.data.members.declared.declared_pools`.

    It stands in for `pools` in every trial of the model, and so names the data set, too. Declared members are the
    first `first` training images, or those that the file of this sha256 lists; without either, all.
    """

    VERSION = 2
    """1 took the first column of a csv, whatever it was called, and lost a first line with a byte order mark."""
    data: DataField
    first: int | None = Field(default=None, ge=1, le=1_000_000_000)
    sha256: str | None = None

    def run(self, context: Context) -> Outcome:
        data, _ = load_data(context)
        members = torch.arange(self.first if self.first is not None else len(data.labels))
        if self.sha256 is not None:
            members = read_members(named_file(context, self.sha256), len(data.labels))
        duplicate_cosine = context.parent("pools").stage["pools"]["duplicate_cosine"]
        generator = context.generator("declared members")
        tensors = declared_pools(data, context.tensors("pools"), members, duplicate_cosine, generator, context.device)
        num_test = int((tensors["non_members"] >= len(data.labels)).sum())
        rows = [
            Row(metric="num_members_compared", value=float(len(tensors["members"]))),
            Row(metric="num_non_members_compared", value=float(len(tensors["non_members"]))),
            Row(metric="num_non_members_from_test", value=float(num_test)),
        ]
        rows.append(_alike(data, tensors, context.generator("sides")))
        return Outcome(rows=rows, tensors=tensors)


def _alike(data: ImageData, pools: dict[str, Tensor], generator: Generator) -> Row:
    """The in_rate in pixels of auxiliary images, which are in neither gallery."""
    auxiliary = data.pixels(pools["auxiliary"]).flatten(1).float()
    mean = auxiliary.mean(0)
    some = auxiliary[torch.randperm(len(auxiliary), generator=generator)[:_NUM_QUERIES]]
    sides = [pools["members"], pools["non_members"]]
    inside, out = (data.pixels(ids).flatten(1).float() - mean for ids in sides)
    found = compare_sides(some - mean, inside, out, data.classes(torch.cat(sides)), generator)
    note = f"0.5 if IN and OUT differ by membership alone; p = {found.p_value:.3f} by swapping them at random"
    return Row(space="pixel", metric="auxiliary_in_rate", value=found.in_rate, n=len(some), note=note)
