"""Audits in one run: what an attack refutes of a model's privacy, and whether that contradicts what was proven."""

import hashlib
from collections.abc import Iterable, Iterator

from benchmark.aggregation.suite_results import SuiteResults
from benchmark.stats.audit import empirical_epsilon
from benchmark.trials.trial import Row

EPSILON, PROVEN = "empirical_epsilon", "proven_epsilon_substitution"
DECLARED = "its members were declared, not drawn by coin, which an audit needs"
UNKEPT = "scores of an older version, without classes; run it again"


def rows(results: SuiteResults, model: str, method: str) -> Iterator[Row]:
    """`empirical_epsilon` of a model under a membership attack: the largest bound of its replicas.

    Each replica is an audit by itself, of its own cut. Where the training proved an epsilon, it is at that delta.
    """
    trials = results.of(model, "infer_membership", method)
    if results.of(model, "import"):
        yield Row(space="", metric=EPSILON, value=None, n=0, note=DECLARED)
        return
    runs = [results.audited(done) for done in trials.values()]
    kept = [run for run in runs if run is not None]
    if len(kept) < len(runs) or not runs:
        yield Row(space="", metric=EPSILON, value=None, n=0, note=UNKEPT)
        return
    delta = _proven_delta(results, model)
    try:
        found = empirical_epsilon(kept, _seed(results.name, model), delta)
    except ValueError as error:
        yield Row(space="", metric=EPSILON, value=None, n=0, note=str(error))
        return
    note = f"{found.num_right} of {found.num_guessed} guesses right, of {found.num_pairs} pairs; delta {delta:.3g}"
    yield Row(space="", metric=EPSILON, value=found.epsilon, n=found.num_guessed, note=note)


def unproven(results: SuiteResults, model: str) -> Iterator[Row]:
    """Why there is no proven epsilon, of a model whose training adds no noise."""
    made = results.made(model)
    if made and not any(done.row("proven_epsilon") for done in made.values()):
        note = "its training proves none: it is not differentially private"
        yield Row(stage="train", method="", space="", metric="proven_epsilon", value=None, note=note)


def control_rows(model: str, found: Iterable[Row]) -> list[tuple[str, Row]]:
    """(model, row): whether what was refuted, under any attack, is below what was proven. found: rows of the model."""
    values = [(row["metric"], row["value"]) for row in found if row["metric"] in (EPSILON, PROVEN)]
    proven = [value for metric, value in values if metric == PROVEN and value is not None]
    refuted = [value for metric, value in values if metric == EPSILON and value is not None]
    if not proven or not refuted:
        return []
    note = f"at most {max(proven):.3g}, which is proven under substitution; {max(refuted):.3g} is refuted"
    passed = float(max(refuted) <= max(proven))
    row = Row(stage="control", method="audit", space="", metric="passed", value=passed, n=len(refuted), note=note)
    return [(model, row)]


def _seed(suite: str, model: str) -> int:
    """Of the matching: of names alone, so that nothing in it knows who is a member."""
    return int.from_bytes(hashlib.sha256(f"{suite}/{model}/{EPSILON}".encode()).digest()[:8], "big")


def _proven_delta(results: SuiteResults, model: str) -> float:
    found = [row["value"] for done in results.made(model).values() if (row := done.row("proven_delta"))]
    return max((value for value in found if value is not None), default=0.0)
