"""Every example of a method in the docs works: it is included, and a tiny trial of it runs."""

import re
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from benchmark import data, registry
from benchmark.evasion.attack import Evasion, checked, input_gradient
from benchmark.inversion.attack import Inversion, Victim
from benchmark.inversion.attack import checked as checked_images
from benchmark.inversion.prior import Prior
from benchmark.membership.attack import MembershipAttack
from benchmark.membership.attack import checked as checked_scores
from benchmark.membership.signals import Images, Shadows, Signals
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.regimes.regime import Regime, to_float
from benchmark.regimes.regime import checked as checked_history
from benchmark.spec import Spec
from benchmark.stages.shared.network_check import check_users_network
from benchmark.trials.trial import Context, Stage
from benchmark.user_files import include

DOCS = Path(__file__).parents[1] / "docs" / "METHODS.md"
EXAMPLES = {
    match[1]: block
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    if (match := re.search(r'^register\("(\w+)", "\w+"', block, re.M))
}
INFO = InputInfo(1, 16, 16, 2, (0.39,), (0.23,))
pytestmark = pytest.mark.usefixtures("registered")


def example(tmp_path: Path, kind: str, **settings: Any) -> Spec:
    """The method of the one block that registers something of this kind."""
    path = tmp_path / f"{kind}.py"
    path.write_text(EXAMPLES[kind])
    include.load(str(path))
    name = re.findall(rf'^register\("{kind}", "(\w+)"', EXAMPLES[kind], re.M)[0]
    method = registry.parse(kind, {"method": name, **settings})
    assert registry.titled(kind, method) == f"{kind} {name!r}"
    assert (type(method).__doc__ or "").strip() and (method.SOURCE or kind == "stage")
    assert registry.parse(kind, registry.dump(kind, method)) == method
    return method


def stripes(tmp_path: Path) -> tuple[Tensor, Tensor]:
    found = data.load(example(tmp_path, "data"), None)
    return found.images[:200], found.labels[:200]


def trained(tmp_path: Path, regime: str = "standard", **settings: Any) -> Classifier:
    model = cast(Architecture, registry.parse("architecture", "softmax_regression")).build(INFO)
    model.initialise(torch.Generator().manual_seed(0))
    chosen = cast(Regime, registry.parse("regime", {"method": regime, "epochs": 4, "lr": 0.02, **settings}))
    history = chosen.fit(model, *stripes(tmp_path), torch.Generator().manual_seed(1))
    assert checked_history(history, model, "") and history[-1] < history[0]
    return model


def test_every_kind_has_one_example() -> None:
    assert EXAMPLES.keys() == registry.KINDS.keys()
    assert len(re.findall("```python", DOCS.read_text())) == len(EXAMPLES)


def test_every_kind_says_what_must_be_defined() -> None:
    """The table names exactly what `register` asks for."""
    rows = {cells[1].strip(" `"): cells for line in DOCS.read_text().splitlines() if len(cells := line.split("|")) == 6}
    for kind in registry.KINDS:
        wanted = getattr(registry._load(registry._BASES[kind]), "__abstractmethods__")  # noqa: B009
        assert set(re.findall(r"`(\w+)`", rows[kind][3].partition(";")[0])) == set(wanted), kind


def test_data_and_architecture(tmp_path: Path) -> None:
    images, labels = stripes(tmp_path)
    assert images.shape == (200, 1, 16, 16) and labels.sum() == 100
    architecture = example(tmp_path, "architecture")
    check_users_network(architecture, registry.parse("regime", "standard"), INFO)


@pytest.mark.slow
def test_regime(tmp_path: Path) -> None:
    example(tmp_path, "regime", epsilon=0.1)
    settings = {"epsilon": 0.1, "steps": 2}
    half = trained(tmp_path, "half_and_half", **settings)
    assert not torch.equal(half.head.weight, trained(tmp_path, "pgd_at", **settings).head.weight)
    mixed = trained(tmp_path, "half_and_half", share=0, **settings)  # the adversarial half alone is pgd_at
    assert torch.equal(mixed.head.weight, trained(tmp_path, "pgd_at", **settings).head.weight)


def test_evasion(tmp_path: Path) -> None:
    model, (images, labels) = trained(tmp_path), stripes(tmp_path)
    attack = cast(Evasion, example(tmp_path, "evasion", epsilon=0.2, steps=5))
    x = to_float(images)
    found = checked(attack.perturb(model, x, labels, torch.Generator()), x, "evasion").images
    assert (found - x).abs().max() <= 0.2 + 1e-6 and 0 <= found.min() and found.max() <= 1
    losses = [float(input_gradient(model, each, labels)[2].mean()) for each in (x, found)]
    assert losses[1] > losses[0]


def test_inversion(tmp_path: Path) -> None:
    model, pool = trained(tmp_path), stripes(tmp_path)
    victim = Victim(model, (1, 16, 16), 2, torch.device("cpu"), pool, pool, pool)
    rough = []
    for blur in (0, 1):
        attack = cast(Inversion, example(tmp_path, "inversion", samples_per_class=3, steps=10, blur=blur))
        made = attack.reconstruct(victim, torch.Generator().manual_seed(0))
        images = checked_images(made, attack.targets(2), (1, 16, 16), 6, "inversion")
        rough.append(float((images[..., 1:] - images[..., :-1]).abs().mean()))
    assert rough[1] < 0.7 * rough[0], "blurred images are smoother"


def test_prior(tmp_path: Path) -> None:
    prior = cast(Prior, example(tmp_path, "prior"))
    images, labels = stripes(tmp_path)
    weights, _ = prior.fit(images, labels, 2, torch.Generator())
    sampler = prior.sampler((1, 16, 16), 2, weights)
    made = sampler(torch.zeros(2, sampler.latent), torch.arange(2))
    torch.testing.assert_close(made[1], to_float(images[labels == 1]).mean(0))
    assert (sampler.realism(made, torch.arange(2)) > sampler.realism(made.flip(0), torch.arange(2))).all()
    assert all(count > 0 for count in prior.operations((1, 16, 16), 2))


def test_membership(tmp_path: Path) -> None:
    """Images differ in difficulty far more than by membership: calibration finds members, the margin does not."""
    draw = torch.Generator().manual_seed(0)
    hard, first = 10 * torch.rand(400, 1, generator=draw, dtype=torch.float64), torch.arange(400) % 2 == 0
    inside = torch.stack([first, ~first])
    shown = -hard + 0.5 * inside[:, :, None]
    nothing = torch.zeros(2, 400, 0)
    shadows = Shadows(Signals(shown, nothing, nothing), inside, ~inside, torch.zeros(2, dtype=torch.int64))
    images = Images(torch.zeros(400), nothing[0], torch.zeros(0), nothing[0])
    attack = cast(MembershipAttack, example(tmp_path, "membership"))
    found = checked_scores(attack.scores(Signals(*(t[0] for t in shadows.signals)), shadows, images), 400, "")
    assert found[first].min() > found[~first].max() and attack.num_pairs == 1


def test_stage(tmp_path: Path) -> None:
    class Given:
        def tensors(self, role: str) -> dict[str, Tensor]:
            return {"private": torch.arange(7)}

    rows = cast(Stage, example(tmp_path, "stage")).run(cast(Context, Given())).rows
    assert rows == [{"metric": "num_counted", "value": 7.0, "n": 7}]
