"""Two networks have one identity if they compute the same with the same weights, and two if their code differs."""

import copy
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark.models.network_identity import network_identity
from benchmark.spec import SpecError

TEXT = """
import torch
from torch import nn
SLOPE = 0.1
def bend(x):
    return nn.functional.leaky_relu(x, SLOPE)
class Net(nn.Module):
    '''Mine.'''
    classes = {"a", "b", "c"}
    def __init__(self, width=4, scale=2.0):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, width), nn.LayerNorm(width))
        self.head, self.scale = nn.Linear(width, 3), scale
        self.register_buffer("shift", torch.zeros(8), persistent=False)
    def forward(self, x):
        return self.head(bend(self.inner(x * self.scale + self.shift)))
"""


def made(text: str = TEXT, **settings: float) -> nn.Module:
    scope: dict[str, type[nn.Module]] = {"__name__": "my_notebook"}  # type: ignore[dict-item]
    exec(text, scope)
    return scope["Net"](**settings)


def test_weights_modes_and_comments_do_not_count() -> None:
    first, second = made(), made(TEXT.replace("def bend(x):", "\n# it bends\ndef bend(x):"))
    assert network_identity(first) == network_identity(second)
    assert network_identity(copy.deepcopy(first).eval().requires_grad_(False)) == network_identity(first)


def _shift(network: nn.Module) -> nn.Module:
    network.shift[0] = 1
    return network


def _hook(network: nn.Module) -> nn.Module:
    network.head.register_forward_hook(lambda module, given, result: result * 2)
    return network


def _patched(network: nn.Module) -> nn.Module:
    network.inner.forward = functools.partial(torch.mul, other=2)
    return network


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "an attribute": lambda: made(scale=2.5),
    "a width": lambda: made(width=5),
    "a buffer in no state dict": lambda: _shift(made()),
    "a constant": lambda: made(TEXT.replace("SLOPE = 0.1", "SLOPE = 0.2")),
    "a function that is called": lambda: made(TEXT.replace("leaky_relu", "elu")),
    "its own code": lambda: made(TEXT.replace("self.scale +", "self.scale -")),
    "a layer's kind": lambda: made(TEXT.replace("LayerNorm", "BatchNorm1d")),
    "a layer's setting": lambda: made(TEXT.replace("LayerNorm(width)", "LayerNorm(width, eps=0.1)")),
    "a hook": lambda: _hook(made()),
    "a method of the instance": lambda: _patched(made()),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_changes_the_function_counts(what: str) -> None:
    assert network_identity(OTHERS[what]()) != network_identity(made())


@pytest.mark.slow
def test_every_process_finds_the_same(tmp_path: Path) -> None:
    """The order of sets of texts is another in each."""
    code = f"{TEXT}\nfrom benchmark.models.network_identity import network_identity\nprint(network_identity(Net()))"
    (tmp_path / "mine.py").write_text(code)
    found = {
        subprocess.run(
            [sys.executable, tmp_path / "mine.py"],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop().strip()) == 64


def test_content_that_cannot_be_read_is_refused() -> None:
    network = made()
    network.generator = iter([1])
    said = r"^model: Net\.generator is a \w*:list_iterator, which cannot be read"
    with pytest.raises(SpecError, match=said) as refused:
        network_identity(network)
    assert "\n" not in str(refused.value)


class Recursive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.own = [self]

    def forward(self, x: Tensor) -> Tensor:
        return self.forward(x) if len(x) > 1 else x


def test_a_network_that_holds_itself_ends() -> None:
    assert network_identity(Recursive()) == network_identity(Recursive())
