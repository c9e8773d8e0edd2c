"""The bar, in a notebook that is played and in a terminal."""

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from given_networks import NUM_CLASSES, SHAPE, convolutional, images

import benchmark
from benchmark.interface.progress_bar import progress_bar


class ZMQInteractiveShell:
    """Jupyter's is called so."""


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook would have shown, one after another."""
    seen: list[str] = []

    class Handle:
        def update(self, page: str) -> None:
            seen.append(page)

    def display(page: str, display_id: bool) -> Handle:
        seen.append(page)
        return Handle()

    shell, module = ModuleType("IPython"), ModuleType("IPython.display")
    vars(shell).update(get_ipython=ZMQInteractiveShell)
    vars(module).update(display=display, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return seen


def test_a_notebook_shows_a_bar_and_clears_it(pages: list[str]) -> None:
    with progress_bar("pgd", 10, "images") as advance:
        advance(4)
        advance(6)
    assert "<progress max=10 value=4>" in pages[1] and pages[1].endswith("4 of 10 images")
    assert pages[2].endswith("10 of 10 images") and pages[3] == "" and len(pages) == 4


def test_an_error_clears_it_too(pages: list[str]) -> None:
    with pytest.raises(ZeroDivisionError), progress_bar("pgd", 10, "images"):
        raise ZeroDivisionError
    assert pages[-1] == ""


@pytest.mark.parametrize("shown", [None, False])
def test_elsewhere_nothing_is_shown(shown: bool | None, capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("pgd", 10, "images", shown) as advance:
        advance(10)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_shows_it_where_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    with progress_bar("pgd", 10, "images", True) as advance:
        advance(10)
    out, err = capfd.readouterr()
    assert not out and "pgd" in err and "10/10" in err


def test_calls_tell_it_all_they_do(pages: list[str]) -> None:
    def shown(call: Any, **more: Any) -> list[str]:
        pages.clear()
        call(convolutional(), **more)
        return pages

    labels = torch.arange(24) % NUM_CLASSES
    attacked = shown(benchmark.attack, images=images(), labels=labels, epsilon=0.1, steps=1, batch_size=10)
    assert [page.split("> ")[-1] for page in attacked[1:-1]] == [f"{n} of 24 images" for n in (10, 20, 24)]
    made = shown(benchmark.invert, num_classes=NUM_CLASSES, shape=SHAPE, num_per_class=3, steps=5)
    assert made[-2].endswith("60 of 60 passes")
