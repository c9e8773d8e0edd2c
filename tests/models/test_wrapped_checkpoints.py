"""Weights as training scripts keep them: under keys and prefixes, beside copies, averages and parts of the training."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark import registry
from benchmark.models.checkpoint import fit, normalisation_in, read
from benchmark.models.classifier import Architecture, Classifier, InputInfo

State = dict[str, Tensor]
CONSTANTS = ((0.25, 0.5, 0.75), (0.5, 0.25, 0.125))


def ours() -> Classifier:
    architecture = registry.parse("architecture", {"method": "wide_resnet_28_10", "depth": 10, "widen_factor": 1})
    assert isinstance(architecture, Architecture)
    return architecture.build(InputInfo(3, 8, 8, 4, (0.0,) * 3, (1.0,) * 3))


def network(seed: int = 0) -> State:
    """Under the names of the usual code."""
    model = ours()
    model.initialise(torch.Generator().manual_seed(seed))
    state = {k.removeprefix("body."): v for k, v in model.state_dict().items() if k not in ("mean", "std")}
    return {k.replace("head.", "fc."): v.contiguous() for k, v in state.items()}


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor.clone() for name, tensor in state.items()}


def constants(mean: str, std: str) -> State:
    return {name: torch.tensor(values).view(3, 1, 1) for name, values in zip((mean, std), CONSTANTS, strict=True)}


def madrylab(second: State) -> State:
    """The layout of MadryLab's `robustness`: the attacked network once more inside of the attacker."""
    return {
        **constants("module.normalizer.new_mean", "module.normalizer.new_std"),
        **under("module.model.", network()),
        **constants("module.attacker.normalize.new_mean", "module.attacker.normalize.new_std"),
        **under("module.attacker.model.", second),
    }


def assert_is(found: Classifier, seed: int = 0) -> None:
    expected = ours()
    fit(expected, network(seed))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


SCALARS = {"epoch": torch.tensor(3), "n_averaged": torch.tensor(9)}
WRAPPED: dict[str, tuple[State, tuple[str, ...]]] = {
    "two copies": (madrylab(network()), ("module.attacker.model.* (a copy)",)),
    "sequential": ({**constants("0.mean", "0.std"), **under("1.", network())}, ()),
    "compiled, parallel": (under("_orig_mod.module.", network()), ()),
    "any name": (under("student.encoder_q.", network()), ()),
    "a loss beside": ({**under("module.", network()), "criterion.weight": torch.ones(4)}, ("criterion.weight",)),
    "a loss inside": ({**under("module.", network()), "module.loss_fn.w": torch.ones(4)}, ("module.loss_fn.w",)),
    "a loss, bare": ({**network(), "criterion.weight": torch.ones(4)}, ("criterion.weight",)),
    "a loss one up": (
        {**under("module.model.", network()), "module.criterion.weight": torch.ones(4)},
        ("module.criterion.weight",),
    ),
    "scalars": ({**under("module.", network()), **SCALARS}, ("epoch", "n_averaged")),
    "an average inside": (
        {**under("model.", network()), **under("model_ema.module.", network(1))},
        ("model_ema.module.* (an average)",),
    ),
    "the average first": (
        {**under("ema.", network(1)), **under("model.", network())},
        ("ema.* (an average)",),
    ),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_network_is_found_under_any_prefix(name: str, tmp_path: Path) -> None:
    state, left_out = WRAPPED[name]
    torch.save({"state_dict": state}, tmp_path / "w.pt")
    model, weights = ours(), read(tmp_path / "w.pt").weights
    found = fit(model, weights)
    assert_is(model)
    assert found.left_out == left_out
    has_constants = any(name.endswith("mean") and "bn" not in name for name in state)
    assert normalisation_in(weights, found.pairs.values()) == (CONSTANTS if has_constants else None)


def test_copies_that_differ_are_refused() -> None:
    said = r"it holds two networks that differ, 'module.model.\*' and 'module.attacker.model.\*'; save the one that"
    with pytest.raises(ValueError, match=said):
        fit(ours(), madrylab(network(1)))
    other = network()
    other["fc.bias"] = other["fc.bias"] + 1
    with pytest.raises(ValueError, match="two networks that differ"):
        fit(ours(), {**under("student.", network()), **under("teacher.", other)})


@pytest.mark.parametrize("foreign", ["head.weight", "1.weight", "temperature", "module.extra.bias"])
def test_what_may_belong_to_the_network_is_not_dropped(foreign: str) -> None:
    for prefix in ("module.0.", "module."):
        with pytest.raises(ValueError, match=f"1 not in the architecture: {foreign}$"):
            fit(ours(), {**under(prefix, network()), foreign: torch.ones(4)})


def test_what_is_missing_under_a_prefix_is_named_alone() -> None:
    state = under("1.", network())
    del state["1.conv1.weight"], state["1.bn1.num_batches_tracked"]
    with pytest.raises(ValueError, match="does not fit the architecture: 1 missing: (body.)?conv1.weight$"):
        fit(ours(), {**constants("0.mean", "0.std"), **state})


def test_constants_that_differ_are_refused() -> None:
    weights = {**constants("0.mean", "0.std"), "1.mu": torch.zeros(3), "1.sigma": torch.ones(3)}
    with pytest.raises(ValueError, match="it holds 2 normalisations that differ: "):
        normalisation_in(weights)
    same = {**constants("a.mean", "a.std"), **constants("b.mu", "b.sigma")}
    assert normalisation_in(same) == CONSTANTS


OPTIMIZER = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


@pytest.mark.parametrize(
    ("content", "key", "left_out"),
    [
        ({"state_dict": 0, "optimizer": OPTIMIZER, "epoch": 3}, "state_dict", ()),
        ({"state_dict_ema": 1, "state_dict": 0}, "state_dict", ("state_dict_ema",)),
        ({"last": 1, "best": 0}, "best", ("last",)),
        ({"epoch": 3, "last": 0}, "last", ()),
        ({"model_state": 0, "optimizer_state": OPTIMIZER}, "model_state", ()),
        ({"state_dict_ema": 0, "optimizer": OPTIMIZER}, "state_dict_ema", ()),
        ({"ema_state_dict": 0}, "ema_state_dict", ()),
        ({"my_classifier": 0, "sgd": OPTIMIZER, "epoch": torch.tensor(3)}, "my_classifier", ()),
        ({"model": {"params": 0, "ema": 1}, "args": {"lr": 0.1}}, "params", ("ema",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_state_dict_is_found_under_any_key(
    content: dict[str, object], key: str, left_out: tuple[str, ...], tmp_path: Path
) -> None:
    def filled(value: object) -> object:
        if isinstance(value, dict) and value is not OPTIMIZER:
            return {k: filled(v) for k, v in value.items()}
        return network(value) if type(value) is int and value in (0, 1) else value

    torch.save(filled(content), tmp_path / "w.pt")
    found = read(tmp_path / "w.pt")
    assert (found.key, found.left_out) == (key, left_out)
    model = ours()
    fit(model, found.weights)
    assert_is(model)


def test_several_unknown_keys_are_refused(tmp_path: Path) -> None:
    torch.save({"generator": network(), "classifier": network(1)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="it holds several sets of weights, generator, classifier; allowed: one, or"):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize("suffix", ["pt", "safetensors", "bin", ""])
def test_content_counts_and_not_the_suffix(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{suffix}"
    for save in (
        lambda: save_file(network(), path),
        lambda: torch.save(network(), path),
        lambda: torch.save(network(), path, _use_new_zipfile_serialization=False),
    ):
        save()
        model = ours()
        fit(model, read(path).weights)
        assert_is(model)


def test_a_wrapping_architecture_takes_the_inside_alone() -> None:
    class Outer(Classifier):
        def __init__(self) -> None:
            super().__init__(InputInfo(3, 8, 8, 4, (0.0,) * 3, (1.0,) * 3), nn.Module(), nn.Identity())
            self.body.model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4))

    model = Outer()
    fit(model, {"1.weight": torch.ones(4, 3), "1.bias": torch.zeros(4)})
    assert torch.equal(model.body.model[1].weight, torch.ones(4, 3))
