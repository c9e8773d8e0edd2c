"""The strongest attack is chosen on shadow models, pair by pair, never by its own numbers."""

from pathlib import Path

from board import Board, scored

from benchmark.aggregation.strongest_membership import strongest
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.trials.trial import Row


def results(folder: Path, shadow_aucs: dict[str, list[float | None]]) -> SuiteResults:
    """Attack -> shadow_auc of each replica. Each finds more on its target than the one before."""
    board = Board(folder, ["m"])
    for number, (label, values) in enumerate(shadow_aucs.items()):
        for replica, value in enumerate(values):
            rows = [Row(metric="shadow_auc", value=value), Row(metric="membership_auc", value=0.6 + 0.1 * number)]
            table = scored([3, 1, 2, 0], [True, True, False, False])
            board.add("infer_membership", "m", replica, rows, label, scores=table)
    store = board.finish()
    (manifest,) = store.plans()
    manifest = {**manifest, "about": {**manifest["about"], "membership": list(shadow_aucs)}}
    return SuiteResults(store, manifest)


def chosen(found: SuiteResults) -> list[str]:
    return [done.method for _, done in sorted(strongest(found, "m").trials.items())]


def test_each_pair_has_the_attack_that_does_best_on_its_shadow_models(tmp_path: Path) -> None:
    found = results(tmp_path, {"one": [0.6, 0.7, 0.5, 0.5], "two": [0.7, 0.55, 0.6, 0.6]})
    assert chosen(found) == ["one", "one", "two", "two"]
    assert strongest(found, "m").note == "the attacks, chosen on shadow models: one for pair 0; two for pair 1"


def test_without_shadow_models_it_is_the_first_attack(tmp_path: Path) -> None:
    found = results(tmp_path, {"one": [None, None], "two": [None, None]})
    assert chosen(found) == ["one", "one"]


def test_one_attack_needs_no_note_and_an_unfinished_one_is_not_chosen(tmp_path: Path) -> None:
    assert strongest(results(tmp_path / "a", {"one": [0.6, 0.7]}), "m").note is None
    found = results(tmp_path / "b", {"one": [0.6, 0.6], "two": [0.9]})
    assert chosen(found) == ["one", "one"]
