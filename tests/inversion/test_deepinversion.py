"""The batch-norm prior by hand, what it does, and networks that have none."""

import math

import pytest
import torch
from torch import Tensor, nn
from victims import INFO, NUM_CLASSES, PER_CLASS, pools, run, trained

from benchmark.inversion.deepinversion import DeepInversion, statistics_loss
from benchmark.models.softmax_regression import SoftmaxRegression


def test_the_loss_of_a_layer_by_hand() -> None:
    layer = nn.BatchNorm2d(2)
    layer.running_mean, layer.running_var = torch.tensor([1.0, -1.0]), torch.tensor([2.0, 1.0])
    x = torch.tensor([[[[0.0, 2.0]], [[3.0, 3.0]]], [[[4.0, 6.0]], [[3.0, 3.0]]]])
    with statistics_loss(nn.Sequential(layer, nn.BatchNorm2d(2)).eval()) as losses:
        layer(x)
    # means 3 and 3: off by 2 and 4; variances 5 and 0: off by 3 and 1
    assert [loss.item() for loss in losses] == pytest.approx([math.sqrt(20) + math.sqrt(10)])
    layer(x)
    assert len(losses) == 1, "the hooks are gone"


def test_a_batch_with_the_running_statistics_costs_nothing() -> None:
    x = torch.rand(16, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    layer = nn.BatchNorm2d(3)
    layer.running_var, layer.running_mean = torch.var_mean(x, (0, 2, 3), correction=0)
    with statistics_loss(layer.eval()) as losses:
        layer(x)
        layer(x + 0.1)
    assert losses[0].item() == pytest.approx(0, abs=1e-6)
    assert losses[1].item() == pytest.approx(0.1 * math.sqrt(3), rel=1e-4)


def prior(images: Tensor) -> float:
    model = trained()
    with torch.no_grad(), statistics_loss(model) as losses:
        model(images)
        return float(torch.stack(losses).sum())


@pytest.mark.slow
def test_the_prior_brings_the_statistics_near_those_of_the_members() -> None:
    without, with_it = (
        prior(run(DeepInversion(batch_norm=w, steps=60, samples_per_class=PER_CLASS))) for w in (0.0, 1.0)
    )
    members = pools()[0][0].float() / 255
    assert with_it < 2 * prior(members) < 0.1 * without


@pytest.mark.slow
def test_every_batch_mixes_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []
    original = DeepInversion._descend

    def watch(self: DeepInversion, model: nn.Module, x: Tensor, targets: Tensor, shifts: list[list[int]]) -> Tensor:
        seen.append(targets.bincount(minlength=NUM_CLASSES).tolist())
        return original(self, model, x, targets, shifts)

    monkeypatch.setattr(DeepInversion, "_descend", watch)
    run(DeepInversion(steps=1, samples_per_class=6, batch_size=9))
    assert seen == [[2, 2, 2, 2]] * 3


def test_a_network_without_batch_norm_is_attacked_without_the_prior_and_says_so() -> None:
    network = SoftmaxRegression().build(INFO)
    network.initialise(torch.Generator().manual_seed(0))
    case = DeepInversion(steps=5, samples_per_class=PER_CLASS)
    assert case.remark(trained()) == "" and "without the batch-norm prior" in case.remark(network)
    made = run(case, network.eval())
    assert torch.equal(made, run(DeepInversion(steps=5, samples_per_class=PER_CLASS, batch_norm=9.0), network))
    assert made.isfinite().all()


def test_its_first_step_on_a_linear_model_by_hand() -> None:
    """Adam's first step is the sign of the gradient: up where the class's weights beat the expected ones."""
    network = SoftmaxRegression().build(INFO)
    network.initialise(torch.Generator().manual_seed(0))
    case = DeepInversion(steps=1, total_variation=0.0, step_size=0.01, start="zeros", samples_per_class=1)
    made = run(case, network.eval()).flatten(1)
    with torch.no_grad():
        missing = torch.eye(NUM_CLASSES) - network(torch.zeros(NUM_CLASSES, 1, 12, 12)).softmax(1)
    uphill = missing @ network.head.weight.detach()
    torch.testing.assert_close(made, 0.01 * (uphill > 0), rtol=0, atol=1e-5)
