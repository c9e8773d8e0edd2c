"""Stage `corrupt`: a model's accuracy on test images under common corruptions."""

from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from benchmark.data.corruptions import corrupted
from benchmark.regimes.regime import to_float
from benchmark.stages.predict import accuracy
from benchmark.stages.shared.inputs import apply, load_target, sampled_test_ids, suite_pools_key
from benchmark.stats import clopper_pearson
from benchmark.trials import trial
from benchmark.trials.trial import Context, Outcome, Row, Stage

_AT_A_TIME = 250
"""Images: what is drawn for them comes batch by batch, so that this number is part of the result."""


class Corrupt(Stage):
    """Inputs: pools, target. The test images that evasion attacks get, the same for every model, as is what is drawn.

    names: corruptions. severities: 1 to 5. Writes `right` (V, N) bool, whether each image is classified right in each
    of V versions: the corruptions in the order of `names`, severities within.
    """

    names: list[str] = Field(min_length=1)
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(min_length=1)
    num_images: int = Field(default=1000, ge=1, le=1_000_000_000)

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        key, ids = suite_pools_key(context), sampled_test_ids(context, pools, self.num_images)
        images, labels = data.test_images[ids], data.test_labels[ids]
        right = []
        for name, severity in self._versions():
            generator = trial.generator(key, f"corrupted test images, {name} {severity}")
            logits = [
                apply(model, corrupted(to_float(batch), name, severity, generator), context.device)
                for batch in images.split(_AT_A_TIME)
            ]
            right.append(torch.cat(logits).argmax(1) == labels)
        tensors = {"right": torch.stack(right)}
        return Outcome(rows=self._rows(tensors["right"]), tensors=tensors)

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the outcome of every image."""
        return self._rows(context.own_tensors()["right"])

    def _versions(self) -> Iterator[tuple[str, int]]:
        return ((name, severity) for name in self.names for severity in self.severities)

    def _rows(self, right: Tensor) -> list[Row]:
        versions = zip(self._versions(), right, strict=True)
        rows: list[Row] = [
            {**accuracy("corruption_accuracy", each), "space": f"{name} {severity}"}
            for (name, severity), each in versions
        ]
        # As if every image were right in all versions or in none: an interval that is too wide rather than too short.
        mean = clopper_pearson(float(right.double().mean()) * right.shape[1], right.shape[1])
        return [*rows, Row(metric="mean_corruption_accuracy", value=mean.value, low=mean.low, high=mean.high, n=mean.n)]
