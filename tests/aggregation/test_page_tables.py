"""Tables of the page from results written by hand: every number below was worked out on paper."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from board import PROVENANCE, Board, scored, share

from benchmark import schema
from benchmark.aggregation import comparisons, intervals_over_replicas
from benchmark.aggregation.intervals_over_replicas import control_rows
from benchmark.aggregation.page_tables import summarise
from benchmark.aggregation.pair_cuts import PairCuts
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results.store import CorruptArtifact, Store
from benchmark.stages.shared.samples import SCHEMA
from benchmark.trials.trial import Outcome, Row

RISING = [0.1, 0.2, 0.3, 0.4]
MODELS = ["weak", "strong", "dominated", "broken", "waiting"]


def leaks(evaluator: list[list[float]], robust: list[list[float]], in_rate: list[list[float]]) -> Any:
    return {
        ("evaluator", "evaluator_accuracy"): evaluator,
        ("evaluator_robust", "evaluator_accuracy"): robust,
        ("evaluator", "in_rate"): in_rate,
        ("target", "in_rate"): [[1.0, 1.0], [1.0, 1.0]],
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hand")
    board = Board(folder / "results", MODELS)
    ones, half = [[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]
    board.predicted("weak", [80, 60], [100, 90])
    board.evaded("weak", "pgd-l2-1", [50, 50], RISING)
    board.evaded("weak", "fgsm-l2-1", [10, 10], [0.1])
    board.leaked("weak", "gradient", [leaks([[1, 0], [0, 0]], ones, half), leaks([[1, 1], [0, 0]], ones, half)])
    empty = Row(metric="tpr_at_1pct_fpr", value=None, n=2, note="2 non-members resolve no 1%")
    found = [share("membership_auc", 1, 2), empty, share("tpr_at_0_1pct_fpr", 1, 2)]
    inside = [True, True, False, False]
    board.add("infer_membership", "weak", 0, found, "loss_threshold", scores=scored([3, 2, 1, 0], inside))
    board.add("infer_membership", "weak", 1, found, "loss_threshold", scores=scored([0, 3, 2, 1], inside))

    board.predicted("strong", [50, 50], [50, 50])
    board.evaded("strong", "pgd-l2-1", [60, 62], [0.5, 0.6, 0.6, 0.6])
    board.leaked("strong", "gradient", [leaks(ones, [[1, 1], [1, 0]], half)] * 2)
    board.predicted("dominated", [50, 50], [60, 70])
    board.evaded("dominated", "pgd-l2-1", [20, 20], RISING)
    board.leaked("dominated", "gradient", [leaks(ones, ones, half)] * 2)

    for replica in (0, 1):
        node = board.add("train", "broken", replica, None)
        board.add("predict", "broken", replica, None)
        board.store.write_failure(node, "Traceback\n  File ...\nValueError: the model broke", 1)
        board.add("predict", "waiting", replica, None)
    store = board.finish()
    summarise(store, folder / "site")
    return folder / "site"


@pytest.fixture(scope="module")
def rows(site: Path) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in pq.read_table(site / "leaderboard.parquet").to_pylist()}


def test_the_tables_have_the_columns_of_the_schema(site: Path) -> None:
    for name, expected in (
        ("leaderboard", schema.LEADERBOARD), ("results", schema.RESULTS), ("suites", schema.SUITES),
        ("ranks", schema.RANKS), ("comparisons", schema.COMPARISONS),
        ("status", schema.STATUS), ("images", schema.IMAGES), ("roc", schema.ROC), *schema.SHOWN.items(),
    ):  # fmt: skip
        assert pq.read_schema(site / f"{name}.parquet").equals(expected), name


def test_accuracies_are_means_over_replicas(rows: dict[str, dict[str, Any]]) -> None:
    weak = rows["weak"]
    assert weak["clean_accuracy"] == pytest.approx(0.7) and weak["robust_accuracy"] == pytest.approx(0.5)
    assert weak["generalization_gap"] == pytest.approx(0.25)
    assert weak["clean_accuracy_low"] < 0.7 < weak["clean_accuracy_high"]
    assert rows["strong"]["generalization_gap"] == pytest.approx(0.0)
    assert rows["strong"]["robust_accuracy"] == pytest.approx(0.61)
    assert rows["dominated"]["generalization_gap"] == pytest.approx(0.15)
    assert (weak["num_replicas"], weak["num_members"], weak["eval_norm"], weak["eval_epsilon"]) == (2, 40, "l2", 1.0)
    # 2 replicas of: train, predict, 2 evasion attacks, leakage (which here has no rows), membership
    assert weak["wall_s"] == 2.0 * 12 and weak["gpu_s"] == 0.5 * 12


def test_the_headline_is_the_smaller_evaluator(site: Path, rows: dict[str, dict[str, Any]]) -> None:
    assert rows["weak"]["evaluator_accuracy"] == pytest.approx(3 / 8)
    assert rows["strong"]["evaluator_accuracy"] == pytest.approx(3 / 4)
    assert rows["dominated"]["evaluator_accuracy"] == 1.0
    assert rows["weak"]["in_rate"] == 0.5 and rows["weak"]["in_rate_target"] == 1.0
    notes = {
        row["model"]: row["note"]
        for row in pq.read_table(site / "results.parquet").to_pylist()
        if row["metric"] == "evaluator_accuracy" and row["space"] == "" and row["replica"] is None
    }
    assert notes["weak"].endswith(": evaluator") and notes["strong"].endswith(": evaluator_robust")


def test_the_front(rows: dict[str, dict[str, Any]]) -> None:
    # weak (0.50, 0.375) and strong (0.61, 0.75) are not told apart; both are more robust than dominated (0.20, 1.0)
    assert {model: rows[model]["pareto"] for model in MODELS} == {
        "weak": True, "strong": True, "dominated": False, "broken": None, "waiting": None,
    }  # fmt: skip


def test_membership_is_the_mean_of_the_replicas(site: Path, rows: dict[str, dict[str, Any]]) -> None:
    # replica 0: all 4 pairs in order; replica 1: (0 of 2) + (2 of 2) = 2 of 4
    assert rows["weak"]["membership_auc"] == pytest.approx(0.75)
    assert rows["weak"]["tpr_at_1pct_fpr"] is None and rows["weak"]["tpr_at_0_1pct_fpr"] is None
    assert note(site, "weak", "tpr_at_1pct_fpr") == "4 non-members do not resolve a rate of 0.01; needed: 1,000"


def note(site: Path, model: str, metric: str) -> str | None:
    found = [
        row["note"]
        for row in pq.read_table(site / "results.parquet").to_pylist()
        if (row["model"], row["metric"], row["replica"]) == (model, metric, None)
    ]
    assert len(set(found)) == 1, found  # of the one membership attack, and as the strongest
    return found[0]


def test_masking_is_suspected_with_the_reason(site: Path, rows: dict[str, dict[str, Any]]) -> None:
    assert [rows[model]["masking_suspected"] for model in MODELS] == [True, True, False, None, None]
    notes = {model: str(note(site, model, "masking_suspected")) for model in MODELS[:2]}
    assert "a one-step attack beats the iterated ones at l2 1: fgsm-l2-1 0.100" in notes["weak"]
    assert "more steps do not raise the loss: 0.6 after 1, 0.6 after 3" in notes["strong"]
    assert note(site, "dominated", "masking_suspected") is None


def test_every_empty_cell_has_its_reason(site: Path, rows: dict[str, dict[str, Any]]) -> None:
    for metric in ("clean_accuracy", "robust_accuracy", "in_rate", "membership_auc"):
        assert note(site, "broken", metric) == "train failed: ValueError: the model broke"
        assert note(site, "waiting", metric) == "not run yet"
        assert rows["broken"][metric] is rows["waiting"][metric] is None
    assert note(site, "waiting", "mean_corruption_accuracy") == "the suite does not ask for it"
    states = {row["state"]: row["error"] for row in pq.read_table(site / "status.parquet").to_pylist()}
    assert states == {"done": None, "failed": "ValueError: the model broke", "missing": None}
    (suite,) = pq.read_table(site / "suites.parquet").to_pylist()
    counts = (suite["num_trials"], suite["num_done"], suite["num_failed"], suite["hardware"])
    assert counts == (12 + 8 + 8 + 4 + 2, 28, 2, "abacus")


ONE, ZERO, MIXED = [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]
GOOD = {
    ("memoriser", "gradient"): ONE, ("untrained", "gradient"): MIXED, ("injected", "injected_exact"): ONE,
    ("injected", "injected_noisy"): ONE, ("injected", "injected_out"): ZERO, ("injected", "injected_auxiliary"): MIXED,
}  # fmt: skip
WRONG = [
    (("memoriser", "gradient"), [[1.0, 1.0], [0.5, 1.0]]),
    (("untrained", "gradient"), [[1.0] * 6] * 2),
    (("injected", "injected_exact"), [[1.0, 1.0], [1.0, 0.5]]),
    (("injected", "injected_noisy"), [[1.0, 1.0], [1.0, 0.5]]),
    (("injected", "injected_out"), [[0.0, 0.5], [0.0, 0.0]]),
    (("injected", "injected_auxiliary"), [[0.0] * 6] * 2),
]


def controls(folder: Path, measured: dict[tuple[str, str], list[list[float]]]) -> dict[str, float | None]:
    board = Board(folder, ["m"])
    for (model, method), grid in measured.items():
        board.leaked(model, method, [{("evaluator", "in_rate"): grid}] * 2)
    store = board.finish()
    results = SuiteResults(store, next(store.plans()))
    rows = control_rows(results, PairCuts(results))
    return {row["method"]: row["value"] for _, row in rows if row["metric"] == "passed"}


def test_controls_that_came_out_as_they_must(tmp_path: Path) -> None:
    assert controls(tmp_path, GOOD) == dict.fromkeys(
        ["memoriser", "untrained", "injected_exact", "injected_noisy", "injected_out", "injected_auxiliary"], 1.0
    )


@pytest.mark.parametrize(("which", "grid"), WRONG, ids=[method for (_, method), _ in WRONG])
def test_one_wrong_control_is_one_failed_verdict(
    tmp_path: Path, which: tuple[str, str], grid: list[list[float]]
) -> None:
    found = controls(tmp_path, {**GOOD, which: grid})
    name = which[1] if which[0] == "injected" else which[0]
    assert found.pop(name) == 0.0 and set(found.values()) == {1.0}


def test_an_empty_store_makes_an_empty_page(tmp_path: Path) -> None:
    board = Board(tmp_path / "results", [])
    assert len(summarise(board.store, tmp_path / "site")) == 0
    assert board.finish() and len(summarise(board.store, tmp_path / "site")) == 0


def test_results_of_an_older_version_have_numbers_and_no_pictures(tmp_path: Path) -> None:
    board = Board(tmp_path / "results", ["weak"])
    board.leaked("weak", "gradient", [leaks([[1, 0], [0, 0]], [[1, 1], [1, 1]], [[1, 0], [0, 1]])], pictures=False)
    summarise(board.finish(), tmp_path / "site")
    (row,) = pq.read_table(tmp_path / "site" / "leaderboard.parquet").to_pylist()
    assert row["evaluator_accuracy"] == 0.25
    for name, columns in schema.SHOWN.items():
        assert pq.read_table(tmp_path / "site" / f"{name}.parquet").equals(columns.empty_table())


def tables(site: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in site.glob("*.parquet")}


@pytest.mark.slow
def test_rows_that_were_aggregated_before_are_not_computed_again_and_are_the_same(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(site.parent / "results")
    computed: list[str] = []
    rows = intervals_over_replicas.model_rows

    def counted(found: SuiteResults, cuts: PairCuts, model: str) -> Any:
        computed.append(model)
        return rows(found, cuts, model)

    monkeypatch.setattr(intervals_over_replicas, "model_rows", counted)
    shutil.rmtree(store.root / "index")
    summarise(store, tmp_path / "fresh")
    assert computed == MODELS and tables(tmp_path / "fresh")["results.parquet"]
    summarise(store, tmp_path / "again")
    assert computed == MODELS and tables(tmp_path / "again") == tables(tmp_path / "fresh")
    for damaged in (b"", b"{", b"[]", b'{"record":"aggregates","rows":3}', b"\xff"):
        (kept,) = (store.root / "index").iterdir()
        kept.write_bytes(damaged)
        summarise(store, tmp_path / "mended")
        assert tables(tmp_path / "mended") == tables(tmp_path / "fresh")
    assert computed == MODELS * 6


def test_a_trial_that_was_computed_anew_is_aggregated_anew(tmp_path: Path) -> None:
    board = Board(tmp_path / "results", ["one", "two"])
    for model in ("one", "two"):
        board.predicted(model, [80, 60], [100, 90])
    store = board.finish()
    before = summarise(store, tmp_path / "site").to_pylist()
    node = next(node for node in board.nodes if (node.stage, node.model, node.replica) == ("predict", "two", 1))
    store.write(node.trial, Outcome([share("clean_accuracy", 70, 100), share("member_accuracy", 90, 100)]), PROVENANCE)
    after = summarise(store, tmp_path / "site").to_pylist()
    assert [row["clean_accuracy"] for row in before] == [0.7, 0.7]
    assert [row["clean_accuracy"] for row in after] == [0.7, 0.75] and after[0] == before[0]


def test_what_one_replica_shows_has_no_interval(tmp_path: Path) -> None:
    """Its reconstructions say nothing of other trainings; its accuracy on so many test images has one."""
    board = Board(tmp_path / "results", ["m"])
    board.add("predict", "m", 0, [share("clean_accuracy", 5, 10)])
    rates = [Row(metric="in_rate", space="pixel", value=0.5, low=0.4, high=0.6, n=4)]
    samples = pa.Table.from_pylist([], schema=SCHEMA)
    board.add("leakage", "m", 0, rates, "gradient", samples=samples)
    summarise(board.finish(), tmp_path / "site", images=False)
    found = {
        row["metric"]: (row["value"], row["low"], row["high"])
        for row in pq.read_table(tmp_path / "site" / "results.parquet").to_pylist()
        if row["replica"] == 0
    }
    assert found == {"in_rate": (0.5, None, None), "clean_accuracy": (0.5, 0.0, 1.0)}


def test_what_comparing_finds_damaged_is_passed_over_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path / "results", ["one", "two", "three"])
    for model in ("one", "two", "three"):
        board.predicted(model, [80, 60], [100, 90])
    store = board.finish()
    node = next(node for node in board.nodes if (node.stage, node.model, node.replica) == ("predict", "two", 1))
    compare, told = comparisons.paired, list[Any]()

    def broken(results: SuiteResults, lines: Any) -> Any:
        if any(done.key == node.key for done in results.done):
            raise CorruptArtifact(node.key, "tensors.safetensors", "it is not what was written")
        return compare(results, lines)

    monkeypatch.setattr(comparisons, "paired", broken)
    found = summarise(store, tmp_path / "site", tell=told.append).to_pylist()
    assert [problem.key for problem in told] == [node.key]
    assert [row["clean_accuracy"] for row in found] == [0.7, 0.8, 0.7], "of the replica that is left"
    compared = pq.read_table(tmp_path / "site" / "comparisons.parquet").to_pylist()
    assert len([row for row in compared if row["metric"] == "clean_accuracy"]) == 3


def test_a_model_pays_for_its_own_trials_and_the_suite_for_all(tmp_path: Path) -> None:
    prices = {"currency": "USD", "gpu_hour": {"H100": 3.0}, "core_hour": 0.1}
    board = Board(tmp_path / "results", ["cheap", "dear", "waiting"], prices)
    gpu = {"device": "H100", "wall_s": 3600.0, "gpu_s": 3600.0, "gpus": 0.25}
    board.add("train", "cheap", 0, [], made=gpu)
    board.add("evade", "cheap", 0, [], made={"wall_s": 1800.0, "gpu_s": 0.0, "gpus": 0.0, "threads": 2})
    board.add("train", "dear", 0, [], made={**gpu, "device": "H900"})
    shared = board.add("train", "", 0, [], "evaluator", made={**gpu, "gpus": 1.0})
    board.nodes.append(replace(shared, model="", replica=1))  # under two labels, paid for once
    board.add("train", "waiting", 0, None)
    summarise(board.finish(), tmp_path / "site")
    rows = {row["model"]: row for row in pq.read_table(tmp_path / "site" / "leaderboard.parquet").to_pylist()}
    # A quarter of an hour of an H100, and two cores for half an hour.
    assert (rows["cheap"]["gpu_hours"], rows["cheap"]["currency"]) == (0.25, "USD")
    assert rows["cheap"]["cost"] == pytest.approx(0.75 + 0.1)
    assert (rows["dear"]["gpu_hours"], rows["dear"]["cost"]) == (0.25, None)  # nobody said what an H900 costs
    assert (rows["waiting"]["gpu_hours"], rows["waiting"]["cost"]) == (0.0, 0.0)
    suite = pq.read_table(tmp_path / "site" / "suites.parquet").to_pylist()[0]
    assert (suite["gpu_hours"], suite["cost"]) == (0.25 + 0.25 + 1.0, None)
    Board.finish(without(board, "dear"))
    summarise(board.store, tmp_path / "site")
    suite = pq.read_table(tmp_path / "site" / "suites.parquet").to_pylist()[0]
    assert suite["gpu_hours"] == 1.25 and suite["cost"] == pytest.approx(0.85 + 3.0)


def without(board: Board, model: str) -> Board:
    board.nodes = [node for node in board.nodes if node.model != model]
    board.models = [name for name in board.models if name != model]
    return board
