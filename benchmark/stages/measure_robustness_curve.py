"""Stage `robustness_curve`: robust accuracy against epsilon, from the smallest perturbation of every image."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from benchmark.evasion.fab import FAB
from benchmark.evasion.fmn import smallest_perturbations
from benchmark.evasion.norms import LARGEST_L2, NORMS, NormName
from benchmark.models.classifier import Classifier
from benchmark.regimes.regime import to_float
from benchmark.spec import Fraction
from benchmark.stages.predict import accuracy
from benchmark.stages.shared.inputs import load_target, sampled_test_ids
from benchmark.stages.shared.outputs import finite
from benchmark.stats import median_interval
from benchmark.trials.trial import Context, Outcome, Row, Stage


class RobustnessCurve(Stage):
    """Inputs: pools, target, and evade_0, evade_1, ... the evasion attacks on the same replica.

    The first `num_images` of the test images that evasion attacks get, under one search a norm, whatever the number of
    radii: FMN, or FAB, which tries every rival class by itself and costs as many times more. Where one of the other
    attacks fooled the model, an image's distance is at most that attack's: so the curve is never above an attack of the
    suite. epsilons: norm -> radii, pixel units.
    Writes `<norm>_distance` (N,) float64 for each norm: 0 of an image that is misclassified as it is, infinite where
    nothing fooled the model.
    """

    epsilons: dict[NormName, list[Annotated[Fraction, Field(gt=0, le=LARGEST_L2)]]]
    search: Literal["fmn", "fab"] = "fmn"
    steps: int = Field(default=40, ge=1, le=100_000)
    num_images: int = Field(default=1000, ge=1, le=1_000_000_000)
    batch_size: int = Field(default=250, ge=1, le=1_000_000)

    def run(self, context: Context) -> Outcome:
        data, pools, model = load_target(context)
        ids = sampled_test_ids(context, pools, self.num_images)
        pixels, labels = data.test_images[ids].to(context.device), data.test_labels[ids].to(context.device)
        tensors = {}
        for norm in self.epsilons:
            found = self._distances(context, model, to_float(pixels), labels, norm)
            tensors[f"{norm}_distance"] = torch.minimum(found, _of_others(context, norm, len(ids)))
        return Outcome(rows=self._rows(tensors), tensors=tensors)

    def rederived(self, context: Context) -> list[Row]:
        """All of them, from the distance of every image."""
        return self._rows(context.own_tensors())

    def _distances(self, context: Context, model: Classifier, images: Tensor, labels: Tensor, norm: NormName) -> Tensor:
        """(N,) float64, on the CPU; judged anew by what the network says of the perturbed images."""
        if self.search == "fab":
            attack = FAB(norm=norm, epsilon=max(self.epsilons[norm]), steps=self.steps)
            drawn = context.generator(f"fab {norm}")
            found, _ = attack.smallest_perturbations(model, images, labels, drawn, self.batch_size)
        else:
            found, _ = smallest_perturbations(model, images, labels, norm, self.steps, self.batch_size)
        return judged(model, images, labels, found, norm, self.batch_size)

    def _rows(self, tensors: Mapping[str, Tensor]) -> list[Row]:
        rows: list[Row] = []
        for norm, epsilons in self.epsilons.items():
            distance = tensors[f"{norm}_distance"]
            for epsilon in sorted({0.0, *epsilons}):
                rows.append({**accuracy("robust_accuracy_at", distance > epsilon), "space": f"{norm} {epsilon:.6g}"})
            rows.append({**_median(distance), "space": norm})
        return rows


@torch.no_grad()
def judged(model: nn.Module, images: Tensor, labels: Tensor, found: Tensor, norm: str, batch_size: int) -> Tensor:
    """(N,) distances of the perturbed images that the model gets wrong, 0 where it gets the image itself wrong.

    Infinite where it gets both right. float64, on the CPU. Raises ValueError for images outside [0, 1],
    FloatingPointError for NaN and infinity.
    """
    if not bool(found.isfinite().all()):
        raise FloatingPointError("perturbed images hold NaN; are the network's gradients numbers?")
    low, high = float(found.min()), float(found.max())
    if low < 0 or high > 1:
        raise ValueError(f"perturbed images span {low:.6g} to {high:.6g}; allowed: 0 to 1")
    parts = []
    for x, y, moved in zip(*(whole.split(batch_size) for whole in (images, labels, found)), strict=True):
        wrong, fooled = (finite(model(batch)).argmax(1) != y for batch in (x, moved))
        distance = NORMS[norm].size(moved - x).double()
        parts.append(torch.where(fooled, distance, math.inf).masked_fill(wrong, 0.0).cpu())
    return torch.cat(parts)


def _of_others(context: Context, norm: str, count: int) -> Tensor:
    """(count,) smallest distance at which any of the evasion trials fooled the model; infinite where none did."""
    smallest = torch.full((count,), math.inf, dtype=torch.float64)
    for role in context.trial.inputs:
        if not role.startswith("evade_"):
            continue
        attack, kept = context.parent(role).stage["attack"], context.tensors(role)
        if attack["norm"] != norm:
            continue
        robust, distance = (kept[f"test_{name}"][:count] for name in ("robust", "distance"))
        # float32 may round a distance to just above the radius that the attack kept to.
        reached = distance.double().clamp(max=attack["epsilon"]).masked_fill(robust, math.inf)
        smallest[: len(reached)] = torch.minimum(smallest[: len(reached)], reached)
    return smallest


def _median(distance: Tensor) -> Row:
    found = median_interval(distance.numpy())
    row = Row(metric="median_smallest_perturbation", value=found.value, low=found.low, high=found.high, n=found.n)
    if math.isfinite(found.value) and math.isfinite(found.high):
        return row
    note = "infinite: nothing fools the model on half of the images, or nearly"
    return {
        **row,
        "value": found.value if math.isfinite(found.value) else None,
        "low": None,
        "high": None,
        "note": note,
    }
