"""Label smoothing, positive and negative."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmark import registry
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.softmax_regression import SoftmaxRegression
from benchmark.planning.labels import label
from benchmark.regimes.label_smoothing import LabelSmoothing
from benchmark.regimes.regime import to_float
from benchmark.spec import SpecError

INFO = InputInfo(1, 4, 4, 3, (0.5,), (0.25,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loss(smoothing: float, logits: Tensor, labels: Tensor) -> float:
    return LabelSmoothing(smoothing=smoothing).loss(lambda x: x, logits, logits, labels).item()


def test_the_loss_is_the_cross_entropy_with_softened_labels() -> None:
    logits, labels = 3 * torch.randn(7, 3, generator=generator()), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for smoothing in (0.0, 0.1, 0.6):
        expected = functional.cross_entropy(logits, labels, label_smoothing=smoothing).item()
        assert loss(smoothing, logits, labels) == pytest.approx(expected, rel=1e-5)
    soft = 1.5 * functional.one_hot(labels, 3).double() - 0.5 / 3  # smoothing -0.5: 4/3 and -1/6
    expected = -(soft * logits.double().log_softmax(1)).sum(1).mean().item()
    assert loss(-0.5, logits, labels) == pytest.approx(expected, rel=1e-5)


def test_it_is_least_where_probabilities_are_the_soft_labels() -> None:
    """Positive: a probability of 1 - 0.3 + 0.3 / 3 = 0.8. Negative: the surer the better, without end."""
    at = torch.linspace(0.4, 0.999, 600)
    others = (1 - at) / 2
    found = [loss(0.3, torch.tensor([[p, q, q]]).log(), torch.tensor([0])) for p, q in zip(at, others, strict=True)]
    assert at[int(torch.tensor(found).argmin())].item() == pytest.approx(0.8, abs=2e-3)
    surer = [loss(-0.3, torch.tensor([[z, 0.0, 0.0]]), torch.tensor([0])) for z in (5.0, 20.0, 80.0)]
    assert surer[0] > surer[1] > surer[2] and surer[2] < 0


def test_a_training_ends_less_sure_or_surer() -> None:
    labels = torch.arange(90) % 3
    images = 0.3 + 0.05 * torch.rand(90, 1, 4, 4, generator=generator(2))
    images[torch.arange(90), 0, labels, 0] += 0.4
    found = {}
    for smoothing in (0.3, 0.0, -0.3):
        model: Classifier = SoftmaxRegression().build(INFO)
        model.initialise(generator())
        method = LabelSmoothing(smoothing=smoothing, epochs=60, batch_size=30, lr=0.1)
        method.fit(model, (images * 255).byte(), labels, generator(1))
        with torch.no_grad():
            probabilities = model(to_float((images * 255).byte())).softmax(1)
        assert (probabilities.argmax(1) == labels).all()
        found[smoothing] = probabilities.amax(1).mean().item()
    assert found[0.3] < found[0.0] < found[-0.3] and found[0.3] == pytest.approx(0.8, abs=0.04)


def test_its_settings() -> None:
    method: Any = registry.parse("regime", {"method": "label_smoothing", "smoothing": -0.05})
    assert label("regime", method) == "label_smoothing--0.05" and method.adversary is None
    for given in ({"smoothing": 1}, {"smoothing": "much"}, {}):
        with pytest.raises(SpecError, match="smoothing"):
            registry.parse("regime", {"method": "label_smoothing", **given})
