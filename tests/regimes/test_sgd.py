"""Steps of gradient descent, against those of torch and by hand."""

import pytest
import torch
from torch import Tensor, nn

from benchmark.models.classifier import InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.sgd import SGD


def network() -> nn.Module:
    model = SmallResNet(width=4).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    model.initialise(torch.Generator().manual_seed(0))
    return model.train()


def loss(model: nn.Module, step: int) -> Tensor:
    """A batch of its own for each step."""
    generator = torch.Generator().manual_seed(step)
    x = torch.rand(6, 1, 8, 8, generator=generator)
    return nn.functional.cross_entropy(model(x), torch.randint(0, 2, (6,), generator=generator))


@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("weight_decay", [5e-4, 0.0])
def test_it_takes_the_steps_of_torch_to_the_last_bit(momentum: float, weight_decay: float) -> None:
    ours, theirs = network(), network()
    own = SGD(ours.parameters(), momentum, weight_decay)
    torchs = torch.optim.SGD(
        theirs.parameters(), lr=1, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0
    )
    for step in range(6):
        rate = 0.1 / (step + 1)
        own.zero_grad()
        loss(ours, step).backward()
        own.step(rate)
        torchs.zero_grad()
        loss(theirs, step).backward()
        torchs.param_groups[0]["lr"] = rate
        torchs.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(mine, other)
            assert mine.stride() == other.stride(), "a sum in another layout may round differently"
            assert torch.equal(
                own.state[mine].get("momentum_buffer", torch.zeros(())),
                torchs.state[other].get("momentum_buffer") if momentum else torch.zeros(()),
            )


def test_two_steps_by_hand() -> None:
    """Gradient 1 at a weight of 2, decay 0.5: moments 2, then 0.5 * 2 + g; Nesterov goes g + 0.5 * moment."""
    weight = nn.Parameter(torch.tensor([2.0]))
    method = SGD([weight], momentum=0.5, weight_decay=0.5)
    weight.grad = torch.tensor([1.0])
    method.step(0.1)  # g = 1 + 0.5 * 2 = 2; moment 2; step 2 + 0.5 * 2 = 3
    assert weight.item() == pytest.approx(1.7)
    weight.grad = torch.tensor([1.0])
    method.step(0.1)  # g = 1 + 0.5 * 1.7 = 1.85; moment 1 + 1.85 = 2.85; step 1.85 + 1.425 = 3.275
    assert weight.item() == pytest.approx(1.7 - 0.3275)
    method.zero_grad()
    assert weight.grad is None


def test_weights_without_a_gradient_stay() -> None:
    moved, still = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    moved.grad = torch.ones(2)
    method = SGD([moved, still], momentum=0.9, weight_decay=0.1)
    method.step(0.1)
    assert still.tolist() == [1, 1] and moved[0] < 1 and list(method.state) == [moved]
