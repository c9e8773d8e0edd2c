"""Every number of a page against what the raw output gives: a line a metric."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmark.rederivation import correlations, membership, memorisation, pixels, reconstructions, robustness
from benchmark.rederivation.kept import Kept
from benchmark.rederivation.numbers import CLOSE, Check, Line, Number, compared, lines
from benchmark.rederivation.published import Published
from benchmark.results.store import CorruptArtifact, Store

T = TypeVar("T")
_ODD = (CorruptArtifact, ValueError, KeyError, IndexError, TypeError, AssertionError, ArithmeticError)
"""What reading output of another shape than a run writes ends in."""


def verdict(store: Store, site: Path, data_root: str | None = None) -> list[Line]:
    """A line a metric over all suites of the store. site: folder of the page's Parquet files, made of these results.

    data_root: where data sets are, for nearest images in pixels. Output that cannot be read differs infinitely.
    """
    checks: list[Check] = []
    unchecked: Counter[str] = Counter()
    for manifest in store.plans():
        page = Published(site, manifest["suite"])
        kept = Kept(store, manifest, page.done)
        numbers: list[Number] = []
        for derive in (robustness, membership, memorisation, correlations):
            checks += _all(partial(derive.numbers, kept), numbers, derive.__name__)
        checks += _all(partial(reconstructions.numbers, kept, page), numbers, reconstructions.__name__)
        checks += compared(numbers, page.rows)
        checks += page.on_board(numbers, kept.about)
        for of_examples in (robustness.distances, membership.scores, memorisation.of_images):
            checks += _all(partial(of_examples, kept), checks, of_examples.__module__)
        checks += _all(partial(pixels.nearest_images, kept, data_root), checks, pixels.__name__)
        unchecked += page.unchecked(numbers)
    return lines(checks, unchecked)


def _all(derive: Callable[[], Iterator[T]], found: list[T], name: str) -> Iterator[Check]:
    """Add all to `found`; a check that fails where the output is no run's."""
    try:
        found += list(derive())
    except _ODD as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        yield Check(f"raw output for {name.rpartition('.')[2]}", float("inf"), CLOSE, text)
