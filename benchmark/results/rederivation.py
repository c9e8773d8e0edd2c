"""Computes the numbers of a finished trial again from the raw output that was kept, for `bench verify`."""

import math
from collections.abc import Mapping
from typing import Any

from benchmark import registry
from benchmark.results.store import CorruptArtifact, Store
from benchmark.trials.trial import Context, Row, Settings, Stage, Trial

_CLOSE = 1e-6
"""Other processors and libraries round differently."""


def contradiction(store: Store, trial: Trial) -> tuple[bool, str]:
    """Whether the numbers were computed again, and what is wrong with them. Loads torch where there are any.

    Nothing is derived for stages that need data or a model, of another version, or of a user's own methods.
    """
    try:
        stage = registry.parse("stage", dict(trial.stage))
        if not isinstance(stage, Stage) or registry.dump("stage", stage) != dict(trial.stage):
            return False, ""
        rows = stage.rederived(Context(trial, store, Settings(results=str(store.root), device="cpu")))
        measured = {_place(row): row for row in store.rows(trial.key).to_pylist()}
    except (ValueError, CorruptArtifact):  # what is wrong with a parent is said of the parent
        return False, ""
    except (KeyError, IndexError, TypeError, RuntimeError, AssertionError) as error:
        return True, f"it does not follow from its raw output ({type(error).__name__}: {error})"
    for row in rows:
        found = measured.get(_place(row), {})
        for name in ("value", "low", "high", "n"):
            if not _equal(row.get(name), found.get(name)):
                text = f"{row['metric']} has {name} {found.get(name)}, its raw output gives {row.get(name)}"
                return True, text
    return bool(rows), ""


def _place(row: Mapping[str, Any] | Row) -> tuple[str, str, str]:
    return row.get("method") or "", row.get("space") or "", row["metric"]


def _equal(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=_CLOSE, abs_tol=_CLOSE)
