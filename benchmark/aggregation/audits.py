"""Audits in one run: what an attack refutes of a model's privacy, and whether that contradicts what was proven."""

from collections.abc import Iterable, Iterator, Mapping

from benchmark.aggregation.finished_trial import Done
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.metrics import STRONGEST
from benchmark.stats import seed_of
from benchmark.stats.audit import empirical_epsilon
from benchmark.trials.trial import Row

EPSILON, PROVEN = "empirical_epsilon", "proven_epsilon_substitution"
DECLARED = "its members were declared, not drawn by coin, which an audit needs"


def rows(results: SuiteResults, model: str, trials: Mapping[int, Done]) -> Iterator[Row]:
    """`empirical_epsilon` of a model under a membership attack: the largest bound of its replicas' trials.

    Each replica is an audit by itself, of its own cut. Where the training proved an epsilon, it is at that delta.
    """
    if results.of(model, "import"):
        yield Row(space="", metric=EPSILON, value=None, n=0, note=DECLARED)
        return
    runs = [results.scores(done).run for done in trials.values()]
    if not runs:
        return
    delta = _proven_delta(results, model)
    try:
        found = empirical_epsilon(runs, _seed(results.name, model), delta)
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
    """(model, row): whether what the strongest attack refutes is below what was proven. found: rows of the model.

    The strongest is chosen on shadow models; the largest of all attacks' bounds would be paid for by none of them.
    """
    places = [(row["metric"], row["method"], row["value"]) for row in found if row["value"] is not None]
    proven = [value for metric, _, value in places if metric == PROVEN]
    refuted = [value for metric, method, value in places if (metric, method) == (EPSILON, STRONGEST)]
    if not proven or not refuted:
        return []
    note = f"at most {max(proven):.3g}, which is proven under substitution; {max(refuted):.3g} is refuted"
    passed = float(max(refuted) <= max(proven))
    row = Row(stage="control", method="audit", space="", metric="passed", value=passed, n=len(refuted), note=note)
    return [(model, row)]


def _seed(suite: str, model: str) -> int:
    """Of the matching: of names alone, so that nothing in it knows who is a member."""
    return seed_of(f"{suite}/{model}/{EPSILON}")


def _proven_delta(results: SuiteResults, model: str) -> float:
    found = [row["value"] for done in results.made(model).values() if (row := done.row("proven_delta"))]
    return max((value for value in found if value is not None), default=0.0)
