"""Watched trainings: the epoch that is kept, the rows, and that watching alone changes nothing."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.mlp import MLP
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.dp_sgd import DPSGD
from benchmark.regimes.epochs import Epochs, History
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import Regime
from benchmark.regimes.standard import Standard
from benchmark.regimes.training_state import TrainingState
from benchmark.regimes.watched import Validation, Watched
from benchmark.spec import SpecError
from benchmark.trials.training_progress import UNKEPT

INFO = InputInfo(1, 4, 4, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(num: int = 40, seed: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8, generator=generator(seed)), torch.arange(num) % 2


def fitted(method: Any, architecture: Any = None, validation: Any = None) -> tuple[Classifier, History]:
    model = (architecture or SmallResNet(width=4)).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    model.initialise(generator())
    further = {} if validation is None else {"validation": validation}
    return model, method.fit(model, *data(), generator(1), **further)


def run(robust: list[float], clean: list[float], adversary: Any, early_stopping: bool = True) -> tuple[Any, History]:
    """A training whose epochs have these accuracies; the head's bias is the number of the epoch."""
    model = MLP().build(INFO)
    model.initialise(generator())
    watched = Watched(torch.zeros(50, 1, 4, 4).byte(), torch.zeros(50).long(), adversary, 5)
    told = iter(zip(clean, robust if adversary else [None] * len(clean), strict=True))
    object.__setattr__(watched, "accuracies", lambda model: next(told))

    def train(epoch: int) -> float:
        torch.nn.init.constant_(model.head.bias, epoch + 1)
        return 1.0

    state = TrainingState({"model": model}, {}, generator())
    loop = Epochs(model, state, len(clean), UNKEPT, validation=watched, early_stopping=early_stopping)
    history = loop.run(train)
    return model, history


def test_the_epoch_with_the_best_robust_accuracy_is_kept() -> None:
    model, history = run([0.3, 0.5, 0.4, 0.5], [0.7, 0.8, 0.9, 0.9], ("linf", 0.1))
    assert model.head.bias.tolist() == [2.0, 2.0] and len(history) == 4, "the first of equals; all are trained"
    rows = {row["metric"]: row for row in history.rows}
    assert rows["early_stopping_epoch"]["value"] == 2
    assert rows["early_stopping_epoch"]["note"] == (
        "the weights are those of this epoch, the best in robust accuracy on 50 auxiliary images"
    )
    assert [rows[f"validation_robust_accuracy_epoch_{i}"]["value"] for i in (1, 2, 3, 4)] == [0.3, 0.5, 0.4, 0.5]
    assert rows["validation_accuracy_epoch_3"] == {"metric": "validation_accuracy_epoch_3", "value": 0.9, "n": 50}


def test_without_an_adversary_clean_accuracy_decides() -> None:
    model, history = run([], [0.7, 0.9, 0.8], None)
    assert model.head.bias.tolist() == [2.0, 2.0]
    assert not any("robust" in row["metric"] for row in history.rows)
    assert "best in clean accuracy" in str(history.rows[-1]["note"])


def test_without_early_stopping_the_last_weights_stay() -> None:
    model, history = run([0.3, 0.5, 0.4], [0.7, 0.9, 0.8], ("linf", 0.1), early_stopping=False)
    assert model.head.bias.tolist() == [3.0, 3.0]
    assert not any(row["metric"] == "early_stopping_epoch" for row in history.rows)


@pytest.mark.parametrize(
    ("method", "architecture"),
    [
        (Standard(epochs=2, batch_size=12), None),
        (PGDAdversarialTraining(epsilon=0.05, steps=2, epochs=2, batch_size=12), None),
        pytest.param(DPSGD(noise_multiplier=1.0, epochs=2, batch_size=12), MLP(), marks=pytest.mark.slow),
    ],
)
def test_watching_changes_no_bit(method: Any, architecture: Any) -> None:
    plain, losses = fitted(method, architecture)
    watched = method.model_copy(update={"validation": Validation(steps=2)})
    model, history = fitted(watched, architecture, data(20, 8))
    assert list(history) == list(losses)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())
    assert len([row for row in history.rows if str(row["metric"]).startswith("validation_accuracy_epoch")]) == 2


def test_the_last_epochs_accuracy_is_that_of_the_model_that_comes_back() -> None:
    """With the averaged weights, and by an attack that starts from the same points."""
    watched = data(30, 8)
    method = PGDAdversarialTraining(
        epsilon=0.02, steps=2, epochs=2, batch_size=12, weight_average=0.9, validation=Validation(steps=3)
    )
    model, history = fitted(method, None, watched)
    clean, robust = Watched(*watched, ("linf", 0.02), 3).accuracies(model)
    rows = {row["metric"]: row["value"] for row in history.rows}
    assert rows["validation_accuracy_epoch_2"] == clean and rows["validation_robust_accuracy_epoch_2"] == robust


def test_options_that_are_not_set_are_in_no_key() -> None:
    plain = registry.parse("regime", {"method": "pgd_at", "epsilon": 0.1})
    dumped = registry.dump("regime", plain)
    assert not dumped.keys() & {"weight_average", "validation", "weight_perturbation"} and "warm_epochs" in dumped
    for options in (
        {"weight_average": 0.99},
        {"weight_perturbation": 0.01},
        {"validation": {"early_stopping": True, "num_images": 100}},
    ):
        changed = registry.parse("regime", {"method": "pgd_at", "epsilon": 0.1, **options})
        again = registry.dump("regime", changed)
        assert again.keys() - dumped.keys() == options.keys() and registry.parse("regime", again) == changed
    assert registry.parse("regime", {**dumped, "weight_average": 0}) == plain


def test_validation_costs_passes() -> None:
    """10 images, each forward once and attacked with 4 steps, after each of 3 epochs."""
    method = PGDAdversarialTraining(epsilon=0.1, epochs=3, validation=Validation(num_images=10, steps=4))
    assert method.further_passes == pytest.approx(3 * 10 * (4 + 1 / 3)) and method.num_validation == 10
    assert Standard(epochs=3, validation=Validation(num_images=10)).further_passes == pytest.approx(10)
    assert Standard().further_passes == 0 == Standard().num_validation


class OfBefore(Standard):
    """Written before there was a validation."""

    def fit(self, model: Any, images: Any, labels: Any, generator: Any, progress: Any = UNKEPT) -> Any:  # type: ignore[override]
        return self.descend(model, images, labels, generator, progress)


def test_a_users_loop_without_validation_says_so() -> None:
    OfBefore(epochs=1).check(10)
    assert len(fitted(OfBefore(epochs=1), MLP())[1]) == 1
    with pytest.raises(SpecError, match="validation: this regime's fit does not take it; allowed: null"):
        OfBefore(validation=Validation()).check(10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"weight_average": 1}, "weight_average"),
        ({"validation": {"num_images": 0}}, "validation.num_images"),
        ({"validation": {"stop": True}}, "unknown key 'stop'"),
        ({"weight_perturbation": 2}, "weight_perturbation"),
    ],
)
def test_wrong_options(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        registry.parse("regime", {"method": "pgd_at", "epsilon": 0.1, **given})


def test_every_regime_of_epochs_has_the_options() -> None:
    required = {"pgd_at": 0.1, "trades": 0.1, "mart": 0.1, "fgsm_rs": 0.1, "free_at": 0.1}
    for name in ("standard", "label_smoothing", "gaussian_noise", "dp_sgd", *required):
        settings: dict[str, Any] = {"method": name, "weight_average": 0.9, "validation": {"early_stopping": True}}
        settings |= {"epsilon": required[name]} if name in required else {}
        settings |= {"smoothing": 0.1} if name == "label_smoothing" else {}
        settings |= {"epsilon": 8.0} if name == "dp_sgd" else {}
        method = registry.parse("regime", settings)
        assert isinstance(method, Regime) and method.num_validation == 200
