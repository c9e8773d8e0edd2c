"""Every number of a page against what the raw output gives: a line a metric."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmark.rederivation import correlations, membership, memorisation, pixels, reconstructions, robustness
from benchmark.rederivation.kept import Kept
from benchmark.rederivation.numbers import Check, Line, Number, compared, lines
from benchmark.rederivation.published import Published
from benchmark.results.store import Store


def verdict(store: Store, site: Path, data_root: str | None = None) -> list[Line]:
    """A line a metric over all suites of the store. site: folder of the page's Parquet files, made of these results.

    data_root: where data sets are, for nearest images in pixels. Raises CorruptArtifact for a file that is damaged.
    """
    checks: list[Check] = []
    unchecked: Counter[str] = Counter()
    for manifest in store.plans():
        kept, page = Kept(store, manifest), Published(site, manifest["suite"])
        numbers = list(_numbers(kept, page))
        checks += compared(numbers, page.rows)
        checks += page.on_board(numbers, kept.about)
        checks += _beside(kept, data_root)
        unchecked += page.unchecked(numbers)
    return lines(checks, unchecked)


def _numbers(kept: Kept, page: Published) -> Iterator[Number]:
    yield from robustness.numbers(kept)
    yield from reconstructions.numbers(kept, page)
    yield from membership.numbers(kept)
    yield from memorisation.numbers(kept)
    yield from correlations.numbers(kept)


def _beside(kept: Kept, data_root: str | None) -> Iterator[Check]:
    """What is kept of every example and is itself derived."""
    yield from robustness.distances(kept)
    yield from membership.scores(kept)
    yield from memorisation.of_images(kept)
    yield from pixels.nearest_images(kept, data_root)


