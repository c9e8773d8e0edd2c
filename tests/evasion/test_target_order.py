"""Targets: never the label, in the order promised, against distances that linear algebra gives."""

import torch
from torch import Tensor

from benchmark.evasion.target_order import almost_linear, by_logits


def network(num_classes: int, seed: int = 0) -> torch.nn.Module:
    """Linear, with classes whose weights differ in length, so that the nearest is not the most likely."""
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, num_classes))
    g = torch.Generator().manual_seed(seed)
    lengths = torch.logspace(-1, 1, num_classes)[torch.randperm(num_classes, generator=g), None]
    with torch.no_grad():
        model[1].weight.copy_(torch.randn(num_classes, 16, generator=g) * lengths)
        model[1].bias.zero_()
    return model


def batch(model: torch.nn.Module) -> tuple[Tensor, Tensor, Tensor]:
    x = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(x)
    return x, logits.argmax(1), logits


def test_the_most_likely_first_and_never_the_label() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    assert by_logits(logits, torch.tensor([0, 2]), 2).tolist() == [[2, 1], [0, 1]]
    assert by_logits(logits, torch.tensor([0, 2]), 9).tolist() == [[2, 1, 3], [0, 1, 3]]


def test_almost_linear_is_the_order_of_distances_of_a_linear_model() -> None:
    model = network(6)
    x, y, logits = batch(model)
    weights = model[1].weight.detach()  # type: ignore[index, union-attr]
    for norm, order in (("linf", 1), ("l2", 2)):
        gaps = logits.gather(1, y[:, None]) - logits
        steep = (weights[y][:, None] - weights).norm(p=order, dim=2)
        distances = (gaps / steep).scatter(1, y[:, None], torch.inf)
        found = almost_linear(model, x, y, norm, 5, batch_size=7)  # type: ignore[arg-type]
        assert torch.equal(found, distances.argsort(1)[:, :5])
        assert not torch.equal(found, by_logits(logits, y, 5)), "the case must tell the orders apart"
        assert torch.equal(almost_linear(model, x, y, norm, 2, batch_size=20), found[:, :2])  # type: ignore[arg-type]


def test_almost_linear_looks_at_three_candidates_for_each_it_picks() -> None:
    model = network(12)
    x, y, logits = batch(model)
    found = almost_linear(model, x, y, "l2", 1, batch_size=20)
    assert found.shape == (20, 1) and not (found == y[:, None]).any()
    assert (found == by_logits(logits, y, 3)).any(1).all()


def test_two_classes_leave_one_target() -> None:
    model = network(2)
    x, y, _ = batch(model)
    assert torch.equal(almost_linear(model, x, y, "linf", 9, batch_size=20), 1 - y[:, None])
