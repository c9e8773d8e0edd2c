"""The loop over epochs that all trainings by gradient steps share: resumed, averaged, watched, stopped."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.regimes.averaged import AveragedWeights
from benchmark.regimes.training_state import TrainingState
from benchmark.regimes.watched import Watched
from benchmark.trials.training_progress import Progress
from benchmark.trials.trial import Row

_CLEAN, _ROBUST, _GUARDED = "validation_accuracy", "validation_robust_accuracy", "training_robust_accuracy"


class History(list[float]):
    """The mean loss of each epoch. rows: what else is to be said of the training."""

    def __init__(self, losses: list[float], rows: list[Row]) -> None:
        super().__init__(losses)
        self.rows = rows


@dataclass(frozen=True)
class Guard:
    """Ends a training whose robust accuracy on training images falls by more than `most` below its highest."""

    watched: Watched
    most: float


@dataclass
class Epochs:
    """One training. state: all that its next step depends on; averages and kept weights are added to it here.

    average: see `AveragedWeights`, None for the last weights. validation: watched after each epoch. early_stopping: the
    weights of the epoch that was best on it are kept. why: what to say of a loss that is no number.
    """

    model: Classifier
    state: TrainingState
    num_epochs: int
    progress: Progress
    average: float = 0.0
    validation: Watched | None = None
    early_stopping: bool = False
    guard: Guard | None = None
    why: Callable[[], str] = lambda: "try a smaller lr"
    _losses: list[float] = field(default_factory=list, init=False)
    _curves: dict[str, list[float]] = field(default_factory=dict, init=False)
    _stopped: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._mean = AveragedWeights(self.model, self.average) if self.average else None
        self._delivered = self._mean.model if self._mean else self.model
        self._best = copy.deepcopy(self.model).eval() if self.early_stopping else None
        self._before = copy.deepcopy(self.model).eval() if self.guard else None
        average = self._mean.model if self._mean else None
        kept = {"average": average, "best": self._best, "before": self._before}
        self.state.keep({name: module for name, module in kept.items() if module is not None})
        names = []
        if self.validation is not None:
            names += [_CLEAN] if self.validation.adversary is None else [_CLEAN, _ROBUST]
        if self.guard is not None:
            names.append(_GUARDED)
        self._curves = {name: [] for name in names}

    def run(self, train: Callable[[int], float]) -> History:
        """Train the epochs that are left, and put the weights that were asked for into the model, in eval mode.

        train: number of an epoch -> its mean loss. Raises FloatingPointError for one that is not finite.
        """
        self._resume(self.progress.load())
        for epoch in range(len(self._losses), self.num_epochs):
            self._losses.append(train(epoch))
            if not math.isfinite(self._losses[-1]):
                raise FloatingPointError(f"the training loss is {self._losses[-1]} in epoch {epoch + 1}; {self.why()}")
            if self._after_epoch():
                break
            if epoch + 1 < self.num_epochs and self.progress.due:
                curves = {"history": self._losses, **{f"curve.{name}": each for name, each in self._curves.items()}}
                kept = {name: torch.tensor(values, dtype=torch.float64) for name, values in curves.items()}
                self.progress.save(self.state.gather(**kept))
        before = self._before if self._stopped else None
        final = next(each for each in (self._best, before, self._delivered) if each is not None)
        if final is not self.model:
            self.model.load_state_dict(final.state_dict())
        self.model.eval()
        return History(self._losses, self._rows())

    def stepped(self, step: int) -> None:
        """To be called after each step; the first is 0, and those of a resumed training go on."""
        if self._mean is not None:
            self._mean.take_in(step)

    def _resume(self, found: Mapping[str, Tensor] | None) -> None:
        """Take up a state that was kept, if it is of such a training and says how each epoch went."""
        names = {"history": self._losses, **{f"curve.{name}": curve for name, curve in self._curves.items()}}
        if found is None or not all(_is_curve(found.get(name)) for name in names):
            return
        lengths = {len(found[name]) for name in names}
        if len(lengths) == 1 and 0 < lengths.pop() < self.num_epochs and self.state.restore(found):
            for name, curve in names.items():
                curve += found[name].tolist()

    def _after_epoch(self) -> bool:
        """Measure, and keep weights that may be wanted. True where the training ends here."""
        if self.validation is not None:
            clean, robust = self.validation.accuracies(self._delivered)
            self._curves[_CLEAN].append(clean)
            if robust is not None:
                self._curves[_ROBUST].append(robust)
        if self.guard is not None and self._before is not None:
            _, robust = self.guard.watched.accuracies(self.model)
            curve = self._curves[_GUARDED]
            curve.append(robust or 0.0)
            self._stopped = curve[-1] < max(curve) - self.guard.most
            if self._stopped:
                return True
            self._before.load_state_dict(self._delivered.state_dict())
        if self._best is not None and self._best_epoch() == len(self._losses):
            self._best.load_state_dict(self._delivered.state_dict())
        return False

    def _best_epoch(self) -> int:
        """From 1; the first of equals. An epoch after which the training was ended does not count."""
        curve = self._curves.get(_ROBUST, self._curves[_CLEAN])
        curve = curve[:-1] if self._stopped else curve
        return 1 + curve.index(max(curve)) if curve else 0

    def _rows(self) -> list[Row]:
        rows = [
            Row(metric=f"{name}_epoch_{i + 1}", value=value, n=self._num_watched(name))
            for name, curve in self._curves.items()
            for i, value in enumerate(curve)
        ]
        if self._best is not None:
            kind = "robust" if _ROBUST in self._curves else "clean"
            note = f"the weights are those of this epoch, the best in {kind} accuracy on {self._num_watched(_CLEAN)}"
            best = float(self._best_epoch())
            rows.append(Row(metric="early_stopping_epoch", value=best, note=f"{note} auxiliary images"))
        if self.guard is not None:
            rows.append(self._said_of_guard())
        return rows

    def _said_of_guard(self) -> Row:
        if not self._stopped:
            return Row(metric="catastrophic_overfitting", value=0.0, note="not seen in any epoch")
        curve, last = self._curves[_GUARDED], len(self._losses)
        what = f"robust accuracy on {self._num_watched(_GUARDED)} training images fell from {max(curve):.3f}"
        kept = "the best before it" if self._best is not None else f"epoch {last - 1}"
        note = f"{what} to {curve[-1]:.3f} in epoch {last}; the training ended, the weights are those of {kept}"
        return Row(metric="catastrophic_overfitting", value=float(last), note=note)

    def _num_watched(self, name: str) -> int:
        watched = self.guard.watched if name == _GUARDED and self.guard else self.validation
        return len(watched.labels) if watched else 0


def _is_curve(value: Tensor | None) -> bool:
    return value is not None and value.ndim == 1 and value.dtype == torch.float64
