"""A training that is interrupted after any epoch ends in the weights of one that is not, and repeats no epoch."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from benchmark.inversion.dcgan import DCGAN
from benchmark.models.classifier import Classifier, InputInfo
from benchmark.models.small_resnet import SmallResNet
from benchmark.regimes.epochs import History
from benchmark.regimes.fgsm_rs import FGSMRandomStart
from benchmark.regimes.free_at import FreeAdversarialTraining
from benchmark.regimes.gaussian_noise import GaussianNoise
from benchmark.regimes.mart import MART
from benchmark.regimes.pgd_at import PGDAdversarialTraining
from benchmark.regimes.regime import SupervisedTraining
from benchmark.regimes.standard import Standard
from benchmark.regimes.trades import TRADES
from benchmark.regimes.watched import Validation
from benchmark.results.store import Store
from benchmark.trials.training_progress import Progress
from benchmark.trials.trial import Row

KEY = "a" * 64
SHARED: dict[str, Any] = {"epochs": 4, "batch_size": 12, "lr": 0.05}
METHODS = {
    "standard": Standard(augment=True, **SHARED),
    "pgd_at": PGDAdversarialTraining(epsilon=0.1, steps=2, warm_epochs=3, **SHARED),
    "trades": TRADES(epsilon=0.1, steps=2, warm_epochs=3, **SHARED),
    "no momentum": Standard(momentum=0, **SHARED),
    "mart": MART(epsilon=0.1, steps=2, **SHARED),
    "free_at": FreeAdversarialTraining(epsilon=0.1, replays=2, **SHARED),
    "fgsm_rs": FGSMRandomStart(epsilon=0.1, collapse=1.0, **SHARED),
    "gaussian_noise": GaussianNoise(**SHARED),
    "averaged": Standard(weight_average=0.9, **SHARED),
    "weights perturbed": PGDAdversarialTraining(epsilon=0.1, steps=1, weight_perturbation=0.01, **SHARED),
    "early stopping": PGDAdversarialTraining(
        epsilon=0.02, steps=1, weight_average=0.5, validation=Validation(steps=2, early_stopping=True), **SHARED
    ),
}
PASSES = {"trades": 2, "mart": 2, "free_at": 2, "weights perturbed": 2}
"""Forward passes a step in training mode, where they are not one: losses that see clean images too, replays."""
EPOCHS, STEPS = 4, 3


class Interrupted(Exception):
    """The machine is gone."""


@dataclass
class Memory:
    """A keeper that loses its machine right after it has kept the state for the `last`-th time."""

    last: int = 0
    content: bytes | None = None
    num_kept: int = 0
    keys: set[str] = field(default_factory=set)

    def progress(self, key: str) -> bytes | None:
        self.keys.add(key)
        return self.content

    def keep_progress(self, key: str, content: bytes) -> None:
        self.keys.add(key)
        self.content = content
        self.num_kept += 1
        if self.num_kept == self.last:
            raise Interrupted


def progress(memory: Memory, key: str = KEY, made_with: str = "here") -> Progress:
    return Progress(memory, key, made_with, every_s=0)


def images(num: int = 40) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (num, 1, 8, 8), dtype=torch.uint8, generator=generator), torch.arange(num) % 2


@dataclass
class Trained:
    weights: dict[str, Tensor]
    losses: list[float]
    num_steps: int
    generator: Tensor
    rows: list[Row]

    def same(self, other: "Trained") -> bool:
        equal = all(torch.equal(self.weights[name], other.weights[name]) for name in self.weights)
        told = self.losses == other.losses and self.rows == other.rows
        return equal and told and torch.equal(self.generator, other.generator)


def train(method: SupervisedTraining, kept: Progress, width: int = 4) -> Trained:
    model = SmallResNet(width=width).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    model.initialise(torch.Generator().manual_seed(0))
    generator, seen = torch.Generator().manual_seed(1), list[int]()
    model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])) if module.training else None)
    further = {"validation": images(16)} if method.validation else {}
    losses = method.fit(model, *images(), generator, kept, **further)
    rows = losses.rows if isinstance(losses, History) else []
    return Trained(model.state_dict(), losses, len(seen), generator.get_state(), rows)


def interrupted(method: SupervisedTraining, after: int) -> Memory:
    memory = Memory(last=after)
    with pytest.raises(Interrupted):
        train(method, progress(memory))
    return memory


@pytest.mark.parametrize(
    ("name", "after"),
    [(name, after) for name in METHODS for after in (range(1, EPOCHS) if name in ("standard", "pgd_at") else [2])],
)
def test_it_goes_on_after_the_epoch_that_was_kept(name: str, after: int) -> None:
    undisturbed = train(METHODS[name], Progress(None))
    passes = PASSES.get(name, 1)
    assert undisturbed.num_steps == EPOCHS * STEPS * passes
    memory = interrupted(METHODS[name], after)
    memory.last = 0
    resumed = train(METHODS[name], progress(memory))
    assert resumed.num_steps == (EPOCHS - after) * STEPS * passes
    assert resumed.same(undisturbed)
    assert memory.num_kept == EPOCHS - 1, "the last epoch is kept as the trial's result"
    assert memory.keys == {KEY}


@pytest.mark.parametrize("missing", ["curve.", "module.average", "module.best"])
def test_what_a_watched_training_needs_is_part_of_its_state(missing: str) -> None:
    """Without it the training begins anew, rather than go on as another one."""
    memory = interrupted(METHODS["early stopping"], 2)
    assert memory.content is not None
    tensors = load(memory.content)
    names = [name for name in tensors if name.startswith(missing)]
    assert names
    for name in names:
        del tensors[name]
    memory.last = 0
    progress(memory).save(tensors)
    anew = train(METHODS["early stopping"], progress(memory))
    assert anew.num_steps == EPOCHS * STEPS and anew.same(train(METHODS["early stopping"], Progress(None)))


def test_each_epoch_may_lose_its_machine() -> None:
    memory = Memory()
    for lost in range(1, EPOCHS):
        memory.last = lost
        with pytest.raises(Interrupted):
            train(METHODS["pgd_at"], progress(memory))
    resumed = train(METHODS["pgd_at"], progress(memory))
    assert resumed.num_steps == STEPS and resumed.same(train(METHODS["pgd_at"], Progress(None)))


def test_the_state_says_more_than_the_weights() -> None:
    """Were momentum, statistics, random draws or the rate lost, the resumed training would end elsewhere."""
    undisturbed = train(METHODS["standard"], Progress(None))
    for missing in ("optimizer.", "generator", "module.model.body"):
        memory = interrupted(METHODS["standard"], 2)
        memory.last = 0
        kept = Progress(memory, KEY, "here", every_s=0)
        found = kept.load()
        assert found is not None and any(name.startswith(missing) for name in found)
        changed = {name: torch.zeros_like(t) if name.startswith(missing) else t for name, t in found.items()}
        if missing == "generator":
            changed["generator"] = torch.Generator().manual_seed(5).get_state()
        Progress(memory, KEY, "here", every_s=0).save(changed)
        resumed = train(METHODS["standard"], progress(memory))
        assert resumed.num_steps == 2 * STEPS and not resumed.same(undisturbed), missing


def rewritten(content: bytes, change: Callable[[dict[str, Tensor]], None]) -> bytes:
    """The file with other tensors in it and nothing else amiss."""
    tensors = load(content)
    change(tensors)
    memory = Memory()
    progress(memory).save(tensors)
    assert memory.content is not None
    return memory.content


def flipped(content: bytes) -> bytes:
    place = len(content) - 40
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def replaced(name: str, value: Tensor) -> Callable[[bytes], bytes]:
    def change(tensors: dict[str, Tensor]) -> None:
        assert name in tensors
        tensors[name] = value

    return lambda content: rewritten(content, change)


def removed(name: str) -> Callable[[bytes], bytes]:
    return lambda content: rewritten(content, lambda tensors: void(tensors.pop(name)))


def void(_: object) -> None: ...


def not_finite(content: bytes) -> bytes:
    return rewritten(content, lambda tensors: void(tensors["module.model.head.weight"].fill_(float("nan"))))


def foreign_names(content: bytes) -> bytes:
    names = ("module.model.more", "optimizer.sgd.99.momentum_buffer", "optimizer.adam.0.step", "optimizer.sgd.0.../x")
    return rewritten(content, lambda tensors: tensors.update({name: torch.zeros(2) for name in names}))


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:-1], id="truncated"),
        pytest.param(lambda content: content[:100], id="truncated header"),
        pytest.param(lambda content: b"\xff" * 8 + content[8:], id="giant header"),
        pytest.param(lambda content: (2).to_bytes(8, "little") + b"{}", id="nothing in it"),
        pytest.param(lambda content: b"\x80\x04cos\nsystem\n(S'true'\ntR.", id="a pickle"),
        pytest.param(flipped, id="a bit flipped"),
        pytest.param(lambda content: save(load(content)), id="nothing said about it"),
        pytest.param(lambda content: save(load(content), {"about": json.dumps([1])}), id="something else said"),
        pytest.param(not_finite, id="not finite"),
        pytest.param(foreign_names, id="foreign names"),
        pytest.param(removed("module.model.head.weight"), id="no weights"),
        pytest.param(removed("generator"), id="no generator"),
        pytest.param(removed("history"), id="no history"),
        pytest.param(replaced("generator", torch.zeros(5056, dtype=torch.uint8)), id="no state of a generator"),
        pytest.param(replaced("generator", torch.zeros(3)), id="a generator of floats"),
        pytest.param(replaced("module.model.head.bias", torch.zeros(3)), id="another shape"),
        pytest.param(replaced("module.model.head.bias", torch.zeros(2).double()), id="another type"),
        pytest.param(replaced("optimizer.sgd.0.momentum_buffer", torch.zeros(2)), id="moments of another shape"),
        pytest.param(replaced("history", torch.zeros(4).double()), id="nothing left to do"),
        pytest.param(replaced("history", torch.zeros(0).double()), id="nothing done"),
        pytest.param(replaced("history", torch.tensor(1.0).double()), id="a history of no length"),
    ],
)
def test_what_is_no_state_of_it_is_not_taken_up(damage: Callable[[bytes], bytes]) -> None:
    method = METHODS["standard"]
    memory = interrupted(method, 2)
    assert memory.content is not None
    memory.content, memory.last = damage(memory.content), 0
    anew = train(method, progress(memory))
    assert anew.num_steps == EPOCHS * STEPS and anew.same(train(method, Progress(None)))


def test_neither_is_the_state_of_another_trial_machine_or_network() -> None:
    memory = interrupted(METHODS["standard"], 2)
    content, memory.last = memory.content, 0
    for other in (progress(memory, key="b" * 64), progress(memory, made_with="there")):
        memory.content = content
        assert other.load() is None
    memory.content = content
    assert train(METHODS["standard"], progress(memory), width=6).num_steps == EPOCHS * STEPS


def test_a_full_disk_does_not_end_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = Store(tmp_path)

    def full(key: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "keep_progress", full)
    trained = train(METHODS["standard"], Progress(store, KEY, "here", every_s=0))
    assert trained.same(train(METHODS["standard"], Progress(None)))


def test_short_epochs_are_not_kept() -> None:
    memory = Memory()
    train(METHODS["standard"], Progress(memory, KEY, "here"))
    assert memory.num_kept == 0


def test_weights_that_two_layers_share_are_kept_too() -> None:
    memory, weight = Memory(), torch.arange(12.0).view(3, 4)
    progress(memory).save({"first": weight, "second": weight, "part": weight[1], "turned": weight.T})
    found = progress(memory).load()
    assert found is not None and torch.equal(found["first"], weight) and torch.equal(found["second"], weight)
    assert torch.equal(found["part"], weight[1]) and torch.equal(found["turned"], weight.T)


@pytest.mark.parametrize("after", range(1, 6))
def test_a_prior_goes_on_after_the_step_that_was_kept(after: int) -> None:
    method = DCGAN(width=4, latent=4, steps=6, batch_size=8, average=0.9)
    undisturbed = method.fit(*images(16), 2, torch.Generator().manual_seed(1))
    memory = Memory(last=after)
    with pytest.raises(Interrupted):
        method.fit(*images(16), 2, torch.Generator().manual_seed(1), progress(memory))
    memory.last = 0
    weights, losses = method.fit(*images(16), 2, torch.Generator().manual_seed(1), progress(memory))
    assert memory.num_kept == 6, "five steps and the one after them, none of them twice"
    assert losses == undisturbed[1]
    assert all(torch.equal(weights[name], undisturbed[0][name]) for name in weights)


@pytest.mark.parametrize("name", ["losses", "num_steps", "generator"])
def test_a_prior_begins_anew_without_a_part_of_its_state(name: str) -> None:
    method = DCGAN(width=4, latent=4, steps=3, batch_size=8)
    memory = Memory(last=2)
    with pytest.raises(Interrupted):
        method.fit(*images(16), 2, torch.Generator().manual_seed(1), progress(memory))
    assert memory.content is not None
    memory.content, memory.last = removed(name)(memory.content), 0
    method.fit(*images(16), 2, torch.Generator().manual_seed(1), progress(memory))
    assert memory.num_kept == 2 + 3


def test_kept_tensors_are_those_of_the_plain_network() -> None:
    """Not under the names that a compiled or wrapped one gives them."""
    memory = interrupted(METHODS["standard"], 1)
    assert memory.content is not None
    own: Classifier = SmallResNet(width=4).build(InputInfo(1, 8, 8, 2, (0.5,), (0.25,)))
    names = {name.removeprefix("module.model.") for name in load(memory.content) if name.startswith("module.")}
    assert names == own.state_dict().keys()
