"""The Square attack: its schedule, its search, and where it ends."""

import pytest
import torch
from torch import Tensor, nn
from toy_networks import Counting, trained

from benchmark.evasion.margin_losses import margin
from benchmark.evasion.norms import NORMS, NormName
from benchmark.evasion.square import Square, _filled
from benchmark.evasion.squares import side_of

NORM = pytest.mark.parametrize("norm", ["linf", "l2"])


class Smooth(nn.Module):
    """Two classes, told apart by one bright and one dark half of a (1, 6, 6) image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 6).expand(6, 6).clone())

    def forward(self, x: Tensor) -> Tensor:
        z = ((x - 0.5) * self.weight).flatten(1).sum(1)
        return torch.stack([-z, z], 1)


def attacked(attack: Square, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return attack.perturb(model, x, y, torch.Generator().manual_seed(0)).images


def smooth_images(reach: float, shares: list[float]) -> tuple[Smooth, Tensor, Tensor]:
    """Images whose margin is these shares of `reach`; alternately of class 0 and 1."""
    model, y = Smooth(), torch.arange(len(shares)) % 2
    w = model.weight.detach()
    wanted = torch.tensor(shares) * reach * (2 * y - 1)
    return model, 0.5 + wanted.view(-1, 1, 1, 1) * w / w.square().sum(), y


def test_linf_reaches_the_exact_robust_accuracy_of_a_linear_model() -> None:
    reach = 0.03 * float(Smooth().weight.detach().abs().sum())
    model, x, y = smooth_images(reach, [0.2, 0.9, 0.99, 1.01, 1.1, 1.5])
    found = attacked(Square(norm="linf", epsilon=0.03, queries=700, rescaled=True), model, x, y)
    stands = model(found).argmax(1) == y
    assert stands.tolist() == [False] * 3 + [True] * 3
    worst = x - 0.03 * (2 * y - 1).view(-1, 1, 1, 1) * model.weight.detach().sign()
    torch.testing.assert_close(found[stands], worst[stands])


def test_l2_comes_near_the_exact_robust_accuracy_of_a_linear_model() -> None:
    """And never beyond it: bumps cannot draw the weights exactly."""
    reach = 0.5 * float(Smooth().weight.detach().norm())
    model, x, y = smooth_images(reach, [0.2, 0.4, 0.7, 1.01, 1.1, 1.5])
    found = attacked(Square(norm="l2", epsilon=0.5, queries=700, rescaled=True), model, x, y)
    assert (model(found).argmax(1) == y).tolist() == [False] * 3 + [True] * 3
    lead = -margin(model(found), y)[3:] / 2 / reach
    assert (lead < torch.tensor([0.4, 0.5, 0.9])).all()


def test_the_shares_of_standard_autoattack() -> None:
    """0.8, halved after 10, 50, 200, 500, 1000, 2000 and 4000 of the 5,000 queries."""
    attack = Square(epsilon=0.1)
    shares = {1: 0.8, 10: 0.8, 11: 0.4, 50: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 1001: 0.025, 2001: 0.0125, 4001: 0.00625}
    assert {q: attack.share(q) for q in shares} == pytest.approx(shares)
    assert attack.share(4999) == 0.00625


def test_the_shares_rescaled_to_the_budget() -> None:
    """The paper's fractions: 0.1%, 0.5%, 2%, 5%, 10%, 20%, 40%, 60% and 80% of the queries."""
    attack = Square(epsilon=0.1, queries=1000, rescaled=True)
    shares = {
        1: 0.8,
        2: 0.4,
        5: 0.4,
        6: 0.2,
        21: 0.1,
        51: 0.05,
        101: 0.025,
        201: 0.0125,
        801: 0.8 / 512,
        999: 0.8 / 512,
    }
    assert {q: attack.share(q) for q in shares} == pytest.approx(shares)
    full = Square(epsilon=0.1, queries=10_000, rescaled=True)
    assert all(full.share(q) == Square(epsilon=0.1).share(q) for q in range(1, 5000, 7))


def test_sides_by_hand() -> None:
    """28 x 28: 0.8 of 784 is 627.2, a square of 25.04; 0.4 of it 17.7; 0.00625 of it 2.2. At least 1, at most all."""
    gray = torch.Size((1, 1, 28, 28))
    assert [side_of(share, gray) for share in (0.8, 0.4, 0.2, 0.1, 0.05, 0.0125, 0.00625)] == [25, 18, 13, 9, 6, 3, 2]
    assert side_of(1e-9, gray) == 1 and side_of(1.0, torch.Size((1, 3, 8, 32))) == 8


@NORM
def test_more_queries_never_raise_the_margin(norm: NormName) -> None:
    """The first queries are the same, whatever the budget."""
    network, x, y = trained()
    epsilon = {"linf": 0.01, "l2": 0.1}[norm]
    leads = []
    for queries in (1, 20, 60):
        found = attacked(Square(norm=norm, epsilon=epsilon, queries=queries), network, x, y)
        leads.append(margin(network(found), y).detach())
    right = leads[0] < 0
    assert right.sum() > 20
    for before, after in ((leads[0], leads[1]), (leads[1], leads[2])):
        assert (after >= before - 1e-5)[right].all() and (after > before + 1e-3)[right].any()


@NORM
def test_it_beats_as_many_draws_of_noise(norm: NormName) -> None:
    network, x, y = trained()
    epsilon = {"linf": 0.02, "l2": 0.2}[norm]
    found = attacked(Square(norm=norm, epsilon=epsilon, queries=60, rescaled=True), network, x, y)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        stands = network(x).argmax(1) == y
        clean = int(stands.sum())
        for _ in range(60):
            noise = NORMS[norm].random_start(x, epsilon, generator)
            noise = noise / NORMS[norm].size(noise).view(-1, 1, 1, 1) * epsilon
            stands &= network((x + noise).clamp(0, 1)).argmax(1) == y
        robust = int((network(found).argmax(1) == y).sum())
    assert robust < int(stands.sum()) - 5 <= clean


def test_a_query_that_changes_nothing_is_not_asked() -> None:
    """Half of the 1 x 1 squares draw the sign that is there already."""
    model, x, y = smooth_images(10.0, [0.9] * 16)
    counting = Counting(model)
    attacked(Square(norm="linf", epsilon=0.01, queries=400, p_init=0.02), counting, x, y)
    assert 1 <= sum(counting.sizes) / 16 < 400
    assert len(counting.sizes) < 400


def test_it_asks_no_gradient() -> None:
    network, x, y = trained()

    class Forward(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert not torch.is_grad_enabled()
            logits: Tensor = network(images)
            return logits

    attacked(Square(epsilon=0.1, queries=5), Forward(), x, y)


def test_what_the_pool_holds_does_not_change_an_images_fate() -> None:
    """Random numbers are drawn for all images at every query; batches of any size ask the same."""
    network, x, y = trained()
    attack = Square(norm="linf", epsilon=0.01, queries=30)
    whole = attack.perturb_pool(network, x, y, torch.Generator().manual_seed(0), 48).images
    parts = attack.perturb_pool(network, x, y, torch.Generator().manual_seed(0), 7).images
    assert (whole - parts).flatten(1).any(1).sum() <= 2, "rounding may turn a comparison"


@NORM
def test_asking_ahead_is_the_same_search_as_one_query_after_the_other(
    norm: NormName, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, y = smooth_images(3.0, [0.3, 0.5, 0.7, 0.9])
    counting = Counting(model)
    attack = Square(norm=norm, epsilon={"linf": 0.1, "l2": 0.6}[norm], queries=300)
    ahead = attack.perturb_pool(counting, x, y, torch.Generator().manual_seed(0), 64).images
    calls = len(counting.sizes)
    monkeypatch.setattr("benchmark.evasion.square.AHEAD", 1)
    torch.testing.assert_close(attack.perturb_pool(counting, x, y, torch.Generator().manual_seed(0), 64).images, ahead)
    assert 2 * calls < len(counting.sizes) - calls
    assert max(counting.sizes) <= 64


def test_batches_have_few_sizes_and_hold_every_row() -> None:
    sizes = set()
    for count in range(600):
        rows = _filled(torch.arange(count))
        assert torch.equal(rows.unique(), torch.arange(count))
        assert count <= len(rows) <= count * 9 / 8
        sizes.add(len(rows))
    assert len(sizes) <= 16 + 8 * 6
