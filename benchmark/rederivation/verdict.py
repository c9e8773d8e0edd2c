"""Every number of a page against what the raw output gives: a line a metric."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmark.rederivation import (
    adversarial_images,
    correlations,
    curves,
    data_set,
    membership,
    memorisation,
    pixels,
    reconstructions,
    robustness,
)
from benchmark.rederivation.kept import Kept
from benchmark.rederivation.numbers import CLOSE, Check, Line, compared, lines
from benchmark.rederivation.published import Published
from benchmark.results.store import CorruptArtifact, Store

P = ParamSpec("P")
T = TypeVar("T")
_ODD = (CorruptArtifact, ValueError, IndexError, ArithmeticError)
"""What reading output of another shape than a run writes ends in; `Kept` looks after names and kinds of numbers."""


def verdict(store: Store, site: Path, data_root: str | None = None) -> list[Line]:
    """A line a metric over all suites of the store. site: folder of the page's Parquet files, made of these results.

    data_root: where data sets are, for nearest images in pixels and the ball of adversarial ones. Output that cannot be
    read differs infinitely.
    """
    checks: list[Check] = []
    unchecked: Counter[str] = Counter()
    for manifest in store.plans():
        page = Published(site, manifest["suite"])
        kept = Kept(store, manifest, page.done)
        derived = [_all(each.numbers, kept) for each in (robustness, curves, membership, memorisation, correlations)]
        derived.append(_all(reconstructions.numbers, kept, page))
        numbers = [number for found, _ in derived for number in found]
        checks += [failure for _, failures in derived for failure in failures]
        checks += compared(numbers, page.rows)
        checks += page.on_board(numbers, kept.about)
        by_trial = (adversarial_images.distances, membership.scores, memorisation.of_images, curves.below_the_attacks)
        of_examples = [_all(each, kept) for each in by_trial]
        images = data_set.read(kept, data_root)
        of_examples += [_all(each, kept, images) for each in (adversarial_images.pixels, pixels.nearest_images)]
        checks += [check for found, failures in of_examples for check in found + failures]
        unchecked += page.unchecked(numbers)
        unchecked["adversarial image outside its ball"] += len(_all(adversarial_images.left_out, kept, images)[0])
    return lines(checks, unchecked)


def _all(derive: Callable[P, Iterator[T]], *given: P.args, **named: P.kwargs) -> tuple[list[T], list[Check]]:
    """(all that it derives, nothing) or, where the output is no run's, (nothing, a check that fails)."""
    try:
        return list(derive(*given, **named)), []
    except _ODD as error:
        name, text = derive.__module__.rpartition(".")[2], " ".join(f"{type(error).__name__}: {error}".split())
        return [], [Check(f"raw output for {name}", float("inf"), CLOSE, text)]
