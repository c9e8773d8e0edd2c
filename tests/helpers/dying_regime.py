"""Regimes whose worker is killed when they have just kept an epoch, given to runs with `--include`."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmark.models.classifier import Classifier
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import SupervisedTraining
from benchmark.regimes.standard import Standard
from benchmark.registry import register
from benchmark.trials.training_progress import UNKEPT, Progress


def counted(progress: Progress, folder: str, kills: int) -> Progress:
    """It leaves a file in `folder` for each state that it keeps, with its number of epochs, and dies `kills` times."""
    save, losses = progress.save, len(list(Path(folder).glob("lost*")))

    def deadly(state: Mapping[str, Tensor]) -> None:
        save(state)
        epochs = len(state["history"])
        (Path(folder) / f"epoch{epochs}-{losses}").touch()
        if losses < kills:
            (Path(folder) / f"lost{losses}").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    progress.save = deadly  # type: ignore[method-assign]
    return progress


class _Dying(SupervisedTraining):
    folder: str
    kills: int

    def fit(
        self,
        model: Classifier,
        images: Tensor,
        labels: Tensor,
        generator: torch.Generator,
        progress: Progress = UNKEPT,
    ) -> list[float]:
        return super().fit(model, images, labels, generator, counted(progress, self.folder, self.kills))


class Dying(_Dying, Standard):
    pass


class DyingHardened(_Dying, PGDAdversarialTraining):
    pass


register("regime", "dying_standard", Dying)
register("regime", "dying_pgd_at", DyingHardened)
