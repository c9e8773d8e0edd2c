"""Keeps the rows over replicas beside the results: bootstraps of hundreds of models take minutes, and rarely change.

What is kept is derived. It is found by a hash of all that it was made of, so that another result, another suite or
another version of the code makes it anew; it may be deleted at any time, and a damaged file is as good as none.
"""

import hashlib
import inspect
import json
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from benchmark import metrics, schema, stats
from benchmark.aggregation import comparisons, intervals_over_replicas, roc_curves
from benchmark.aggregation.pair_cuts import PairCuts
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.evasion import gradient_masking
from benchmark.memorization import controls, recut
from benchmark.reading.json_and_parquet import parse
from benchmark.reading.plausible_values import is_name, is_number, is_row
from benchmark.registry import canonical
from benchmark.stages.shared import image_values, samples
from benchmark.storage.checksum import is_sealed, seal
from benchmark.trials.trial import Row

_OF_CUTS = ("rows", "comparisons")
"""What hangs on cuts of the private images; curves do not."""


class Aggregated:
    """The aggregated rows of one suite; `keep` writes those that it had to compute."""

    def __init__(self, found: SuiteResults) -> None:
        self._results, self._cuts = found, PairCuts(found)
        self._name = f"aggregates-{hashlib.sha256(found.name.encode()).hexdigest()[:16]}.json"
        self._before = _read(found.store.derived(self._name))
        self._now: dict[str, list[Any]] = {}

    def model(self, name: str) -> list[Row]:
        """As `intervals_over_replicas.model_rows`."""
        found, cuts = self._results, self._cuts
        rows = self._kept([name], lambda: list(intervals_over_replicas.model_rows(found, cuts, name)), is_row)
        return cast(list[Row], rows)

    def curves(self, name: str) -> dict[str, roc_curves.Curve]:
        """As `roc_curves.curves`."""
        found = self._kept(
            [name], lambda: [list(pair) for pair in roc_curves.curves(self._results, name).items()], _is_curve, "curves"
        )
        return {method: [(fpr, tpr) for fpr, tpr in points] for method, points in found}

    def controls(self) -> list[tuple[str, Row]]:
        """As `intervals_over_replicas.control_rows`."""
        rows = self._kept(
            intervals_over_replicas.CONTROL_MODELS,
            lambda: [list(pair) for pair in intervals_over_replicas.control_rows(self._results, self._cuts)],
            _is_pair,
        )
        return [(model, row) for model, row in rows]

    def comparisons(self, board: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As `comparisons.paired`. board: the leaderboard's lines of these results."""
        models = [line["model"] for line in board]
        return self._kept(models, lambda: comparisons.paired(self._results, board), _is_comparison, "comparisons")

    def keep(self) -> None:
        if self._now.keys() - self._before.keys():
            text = json.dumps({"record": "aggregates", "rows": self._now}, allow_nan=False)
            self._results.store.keep_derived(self._name, seal(text.encode()))

    def _kept(
        self,
        models: "list[str] | tuple[str, ...]",
        compute: Callable[[], list[Any]],
        sound: Callable[[Any], bool],
        kind: str = "rows",
    ) -> list[Any]:
        found = self._results
        trials = [[d.stage, d.method, d.replica, d.key, d.content] for name in models for d in found.of_model(name)]
        membership = found.about["membership"]
        cuts = self._cuts.sources(models) if kind in _OF_CUTS else []
        made_of = [_code(), kind, found.name, list(models), found.about["evasion"], membership, trials, cuts]
        key = hashlib.sha256(canonical(made_of).encode()).hexdigest()
        if key in self._now:  # this build, before a trial was passed over that it does not depend on
            return self._now[key]
        before = self._before.get(key)
        if before is not None and not all(map(sound, before)):
            del self._before[key]  # it is written anew
            before = None
        self._now[key] = compute() if before is None else before
        return self._now[key]


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and is_name(value[0]) and is_row(value[1])


def _is_curve(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and is_name(value[0]) and isinstance(value[1], list)):
        return False
    return all(isinstance(point, list | tuple) and len(point) == 2 and all(map(is_number, point)) for point in value[1])


def _is_comparison(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != set(schema.COMPARISONS.names):
        return False
    numbers = ("difference", "low", "high", "p_value", "p_holm")
    return (
        all(is_number(value[name]) for name in numbers)
        and all(is_name(value[name]) for name in ("suite", "metric", "model", "other"))
        and isinstance(value["paired"], bool)
    )


def _read(content: bytes | None) -> dict[str, list[Any]]:
    """What was kept, by its hash; nothing where it is damaged, or of a version without checksums."""
    if content is None or not is_sealed(content):
        return {}
    try:
        value = parse(content)
        rows = value["rows"] if value.get("record") == "aggregates" else {}
        return {key: list(found) for key, found in rows.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


@cache
def _code() -> str:
    """Hash of the text that decides the rows, and of the libraries that compute them."""
    outside = (metrics, schema, recut, controls, samples, image_values, gradient_masking)
    files = [Path(str(module.__file__)) for module in outside]
    files += sorted({Path(str(inspect.getfile(metric.load()))) for metric in metrics.METRICS if metric.function})
    for folder in (Path(__file__).parent, Path(str(stats.__file__)).parent):
        files += sorted(folder.glob("*.py"))
    texts = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return canonical([*texts, version("numpy"), version("scipy")])
