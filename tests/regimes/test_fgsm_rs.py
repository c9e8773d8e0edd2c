"""One step from a random start, and the collapse that it may end in."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.planning.labels import label
from benchmark.regimes.epochs import Epochs, Guard
from benchmark.regimes.fgsm_rs import FGSMRandomStart
from benchmark.regimes.training_state import TrainingState
from benchmark.regimes.watched import Watched
from benchmark.spec import SpecError
from benchmark.trials.training_progress import UNKEPT

INFO = InputInfo(1, 2, 2, 2, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_its_step_on_a_linear_model() -> None:
    """From -epsilon..epsilon by 1.25 epsilon along the sign, and back into the ball: 0.25 epsilon to epsilon."""
    weight = torch.tensor([1.0, -2.0, 3.0, -4.0])

    def network(x: Tensor) -> Tensor:
        z = x.flatten(1) @ weight
        return torch.stack([z, -z], 1)

    method, clean = FGSMRandomStart(epsilon=0.1), torch.full((500, 1, 2, 2), 0.5)
    made = method.attack(network, clean, torch.zeros(500).long(), 0.1, method.chosen_step_size, generator())
    moved = -((made - clean).flatten(1) * weight.sign())
    assert moved.min() >= 0.025 - 1e-6 and moved.max() <= 0.1 + 1e-6
    # Starts above -0.25 epsilon, which are 62.5%, end on the surface.
    assert (moved > 0.1 - 1e-6).float().mean().item() == pytest.approx(0.625, abs=0.03)


def model_of(weight: list[float]) -> Classifier:
    model = SoftmaxRegression().build(INFO)
    set_to(model, weight)
    return model


@torch.no_grad()
def set_to(model: nn.Module, weight: list[float]) -> None:
    for name, value in model.named_parameters():
        value.copy_(torch.tensor([weight, [-w for w in weight]]) if name.endswith("weight") else torch.zeros(2))


def watched() -> Watched:
    """Pixel 0 is 0.1 or 0.9 by class, the others 0.45 or 0.55."""
    labels = torch.arange(20) % 2
    sign = 1.0 - 2 * labels.float()
    images = 0.5 + 0.05 * sign.view(-1, 1, 1, 1).expand(20, 1, 2, 2).clone()
    images[:, 0, 0, 0] = 0.5 + 0.4 * sign
    return Watched((images * 255).round().byte(), labels, ("linf", 0.2), 5)


STRONG, BRITTLE = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]


def test_the_accuracies_of_known_models() -> None:
    assert watched().accuracies(model_of(STRONG)) == (1.0, 1.0)
    assert watched().accuracies(model_of(BRITTLE)) == (1.0, 0.0)


def run(weights: list[list[float]], most: float = 0.2, **options: Any) -> tuple[Classifier, Any]:
    """A training whose epochs end in the given weights."""
    model = model_of(STRONG)

    def train(epoch: int) -> float:
        set_to(model, weights[epoch])
        return float(epoch)

    state = TrainingState({"model": model}, {}, generator())
    loop = Epochs(model, state, len(weights), UNKEPT, guard=Guard(watched(), most), **options)
    return model, loop.run(train)


def test_a_collapse_ends_the_training_with_the_weights_before_it() -> None:
    before = [2.0, 0.1, 0.0, 0.0]
    model, history = run([STRONG, before, BRITTLE, STRONG])
    assert list(history) == [0.0, 1.0, 2.0], "the fourth epoch is not trained"
    assert model.head.weight[0].tolist() == pytest.approx(before)
    rows = {row["metric"]: row for row in history.rows}
    found = rows["catastrophic_overfitting"]
    assert found["value"] == 3 and found["note"] == (
        "robust accuracy on 20 training images fell from 1.000 to 0.000 in epoch 3; "
        "the training ended, the weights are those of epoch 2"
    )
    assert [rows[f"training_robust_accuracy_epoch_{i}"]["value"] for i in (1, 2, 3)] == [1.0, 1.0, 0.0]
    assert not model.training


def test_without_a_collapse_it_goes_on() -> None:
    for weights in ([BRITTLE, STRONG, STRONG], [BRITTLE, BRITTLE, BRITTLE]):  # never robust is no collapse
        model, history = run(weights)
        assert len(history) == 3 and model.head.weight[0].tolist() == weights[-1]
        assert history.rows[-1]["metric"] == "catastrophic_overfitting" and history.rows[-1]["value"] == 0
    assert len(run([STRONG, BRITTLE, STRONG], most=1.0)[1]) == 3


def test_its_settings() -> None:
    method: Any = registry.parse("regime", {"method": "fgsm_rs", "epsilon": "8/255"})
    assert method.chosen_step_size == pytest.approx(10 / 255) and label("regime", method) == "fgsm_rs-linf-0.03137"
    assert method.passes_per_image == 16 and method.further_passes == pytest.approx(8 * 200 * (10 + 1 / 3))
    for key, value in (("steps", 2), ("collapse", 0), ("epsilon", 8)):
        with pytest.raises(SpecError, match=key):
            registry.parse("regime", {"method": "fgsm_rs", "epsilon": 0.1, key: value})
