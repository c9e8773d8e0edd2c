"""Shifts by hand, and adversarial versions of a network of which the worst one is known."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from benchmark import registry
from benchmark.data.images import ImageData
from benchmark.membership.signals import margins
from benchmark.models.classifier import Architecture, InputInfo
from benchmark.stages.query import SHIFTS, Ball, Query, shifted

CONTEXT = cast(Any, SimpleNamespace(device=torch.device("cpu"), generator=lambda purpose: torch.Generator()))


def test_shifts_by_hand() -> None:
    image = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    assert shifted(image, 1, 0)[0, 0].tolist() == [[0, 1, 2], [0, 4, 5], [0, 7, 8]]
    assert shifted(image, 0, -2)[0, 0].tolist() == [[7, 8, 9], [0, 0, 0], [0, 0, 0]]
    assert torch.equal(shifted(image, 0, 0), image) and len(set(SHIFTS)) == 8


def test_margins_are_log_odds_and_do_not_saturate() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [500.0, 0.0, 0.0]])
    found = margins(logits, torch.tensor([1, 0]))
    share = logits[0].double().softmax(0)[1]
    assert float(found[0]) == pytest.approx(float(torch.log(share / (1 - share))))
    assert float(found[1]) == pytest.approx(500 - float(torch.log(torch.tensor(2.0))), abs=1e-5)


def test_the_adversarial_version_of_a_linear_network_is_the_worst_in_its_ball() -> None:
    """Two classes: the margin falls by epsilon times the l1 norm of the difference of their weights."""
    info = InputInfo(1, 4, 4, 2, (0.0,), (1.0,))
    model = cast(Architecture, registry.parse("architecture", "softmax_regression")).build(info)
    model.initialise(torch.Generator().manual_seed(0))
    model.requires_grad_(False)
    pixels = torch.randint(60, 190, (5, 1, 4, 4), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    labels = torch.arange(5) % 2
    data = ImageData(pixels, labels, pixels, labels, ("a", "b"), (0.0,), (1.0,), "")
    stage, ids = Query(shifts=2, ball=Ball(norm="linf", epsilon=0.1, steps=3)), torch.arange(5)
    clean, correct = stage._asked(model, data, ids, CONTEXT.device)
    logits = model(pixels.float() / 255)
    assert clean.shape == (5, 4) and torch.equal(correct, logits.argmax(1) == labels)
    torch.testing.assert_close(clean[:, 0], margins(logits, labels))
    torch.testing.assert_close(clean[:, 1], margins(model(pixels.flip(3).float() / 255), labels))
    torch.testing.assert_close(clean[:, 2], margins(model(shifted(pixels.float() / 255, *SHIFTS[0])), labels))
    weights = [p for p in model.parameters() if p.ndim == 2][0].double()
    worst = clean[:, 0] - 0.1 * (weights[0] - weights[1]).abs().sum()
    torch.testing.assert_close(stage._adversarial(model, data, ids, CONTEXT)[:, 0], worst, rtol=1e-4, atol=1e-4)
    assert Query()._adversarial(model, data, ids, CONTEXT).shape == (5, 0)
