"""Algorithm 1 of Fredrikson et al. on models whose costs are known step by step."""

import pytest
import torch
from torch import Tensor, nn
from victims import INFO, NUM_CLASSES, PER_CLASS, run

from benchmark.inversion.attack import counted
from benchmark.inversion.mi_face import MIFace
from benchmark.models.softmax_regression import SoftmaxRegression


class Scripted(nn.Module):
    """One image a row; its pixel is a step counter, and the cost at counter t is `costs[row][t]`.

    The gradient of the cost is -1 everywhere, so that a learning rate of 1/10 counts tenths.
    """

    def __init__(self, costs: list[list[float]]) -> None:
        super().__init__()
        self.costs = torch.tensor(costs, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        step = x.detach()[:, 0, 0, 0].mul(10).round().long()
        row = x.detach()[:, 0, 0, 1].mul(10).round().long()
        cost = self.costs[row, step].float()
        f = 1 - cost
        # Logits of (f, 1 - f); the pixel enters with slope 1 / (df / dlogit), so that df / dpixel = 1.
        logit = torch.logit(f) + (x[:, 0, 0, 0] - x.detach()[:, 0, 0, 0]) / (f * (1 - f))
        return torch.stack([logit, torch.zeros_like(logit)], 1)


def descend(costs: list[list[float]], **settings: object) -> tuple[list[int], list[int]]:
    """Step of the image that each row returns, and the number of rows in each forward pass."""
    model, sizes = Scripted(costs), []
    model.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    start = torch.zeros(len(costs), 1, 1, 2)
    start[:, 0, 0, 1] = torch.arange(len(costs)) / 10
    case = MIFace.parse({"learning_rate": 0.1, "steps": 9, "beta": 3, "gamma": 0.05, **settings})
    best = case.descend(model, start, torch.zeros(len(costs), dtype=torch.int64))
    return best[:, 0, 0, 0].mul(10).round().int().tolist(), sizes


def test_it_stops_below_gamma() -> None:
    falling = [0.9, 0.5, 0.04, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]
    assert descend([falling]) == ([2], [1, 1, 1])


def test_it_stops_when_the_cost_is_no_lower_than_any_of_the_last_beta_and_returns_the_best() -> None:
    # beta = 3: at step 5 the cost 0.7 equals the largest of 0.5, 0.6, 0.7; at step 4, 0.7 is below 0.8.
    rising = [0.9, 0.8, 0.5, 0.6, 0.7, 0.7, 0.1, 0.1, 0.1, 0.1]
    assert descend([rising]) == ([2], [1] * 6)
    # A rise that is below the largest of the last three goes on, and is worth it.
    bump = [0.9, 0.8, 0.5, 0.7, 0.4, 0.3, 0.2, 0.1, 0.02, 0.01]
    assert descend([bump]) == ([8], [1] * 9)


def test_the_rule_waits_for_beta_costs() -> None:
    flat = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    assert descend([flat]) == ([0], [1] * 4)
    assert descend([flat], beta=9) == ([0], [1] * 10)


def test_it_ends_after_alpha_steps_with_one_look_at_the_last_image() -> None:
    slow = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    assert descend([slow]) == ([9], [1] * 10)
    assert descend([slow], steps=4) == ([4], [1] * 5)


def test_each_sample_stops_by_itself_and_leaves_the_batch() -> None:
    falling = [0.9, 0.5, 0.04] + [0.01] * 7
    flat = [0.9] * 10
    slow = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    assert descend([falling, slow, flat]) == ([2, 9, 0], [3, 3, 3, 2, 1, 1, 1, 1, 1, 1])


def test_one_step_on_softmax_regression_by_hand() -> None:
    """The gradient of 1 - f_c is -f_c (w_c - sum_k f_k w_k)."""
    network = SoftmaxRegression().build(INFO)
    network.initialise(torch.Generator().manual_seed(0))
    case = MIFace(steps=1, start="zeros", learning_rate=0.7, gamma=0.0, samples_per_class=1)
    made = run(case, network.eval()).flatten(1)
    # The model divides pixels by their standard deviation, 0.25.
    weight = network.head.weight.detach() / 0.25
    with torch.no_grad():
        f = network(torch.zeros(NUM_CLASSES, 1, 12, 12)).softmax(1)
    uphill = f.diagonal()[:, None] * (weight - f @ weight)
    torch.testing.assert_close(made, (0.7 * uphill).clamp(0, 1), rtol=0, atol=1e-5)


def test_the_paper_s_black_start_gives_one_image_a_class() -> None:
    network = SoftmaxRegression().build(INFO)
    network.initialise(torch.Generator().manual_seed(0))
    made = run(MIFace(steps=5, start="zeros", samples_per_class=PER_CLASS), network.eval())
    made = made.view(NUM_CLASSES, PER_CLASS, -1)
    torch.testing.assert_close(made, made[:, :1].expand_as(made))
    assert made.any()


@pytest.mark.parametrize("steps", [1, 30])
def test_passes_are_those_of_the_samples_that_go_on(steps: int) -> None:
    network = SoftmaxRegression().build(INFO)
    network.initialise(torch.Generator().manual_seed(0))
    with counted(network.eval()) as passes:
        run(MIFace(steps=steps, learning_rate=100.0, samples_per_class=PER_CLASS), network)
    assert 0 < passes.backward <= steps * NUM_CLASSES * PER_CLASS
