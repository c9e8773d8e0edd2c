"""Chooses a model's strongest membership attack, pair by pair, by what the attacks reach on shadow models.

The target's own numbers choose nothing: the largest of several measured numbers is too large, even where none leaks.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmark.aggregation.finished_trial import Done, pair_of
from benchmark.aggregation.suite_results import SuiteResults


class Chosen(NamedTuple):
    """trials: replica -> finished trial of the attack that was chosen for its pair. note: which that is, in words; None
    where the suite has one attack.
    """

    trials: dict[int, Done]
    note: str | None


def strongest(results: SuiteResults, model: str) -> Chosen:
    """Of each pair of replicas the attack with the highest mean `shadow_auc`; without any, the suite's first attack.

    An attack counts for a pair once its trials of both replicas, of those that have any, are finished.
    """
    return results.once(model, "strongest", lambda: _strongest(results, model))


def _strongest(results: SuiteResults, model: str) -> Chosen:
    methods = results.methods(model, "infer_membership")
    found = {label: results.of(model, "infer_membership", label) for label in methods}
    pairs: dict[int, set[int]] = {}
    for replica in sorted({replica for trials in found.values() for replica in trials}):
        pairs.setdefault(pair_of(replica), set()).add(replica)
    trials: dict[int, Done] = {}
    names: dict[str, list[int]] = {}
    for pair, replicas in pairs.items():
        complete = [label for label in methods if replicas <= found[label].keys()]
        if complete:
            best = max(complete, key=lambda label, replicas=replicas: _on_shadows(found[label], replicas))  # type: ignore[misc]
            trials |= {replica: found[best][replica] for replica in sorted(replicas)}
            names.setdefault(best, []).append(pair)
    return Chosen(trials, _note(names) if len(results.about["membership"]) > 1 else None)


def _on_shadows(trials: Mapping[int, Done], replicas: set[int]) -> float:
    """Mean over the pair; below every attack's where there is none, so that the first of equals is taken."""
    rows = [trials[replica].row("shadow_auc") for replica in replicas]
    values = [row["value"] for row in rows if row is not None and row["value"] is not None]
    return float(np.mean(values)) if len(values) == len(rows) else -np.inf


def _note(names: Mapping[str, list[int]]) -> str | None:
    if not names:
        return None
    if len(names) == 1:
        return f"the attack is {next(iter(names))}, chosen on shadow models"
    listed = (f"{name} for pair {', '.join(map(str, pairs))}" for name, pairs in names.items())
    return f"the attacks, chosen on shadow models: {'; '.join(listed)}"
