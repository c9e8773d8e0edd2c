"""The front and the places of models, from lines of the leaderboard written by hand."""

from typing import Any

from benchmark.aggregation.comparisons import front, places

HALF = 0.01


def line(model: str, robust: float, recognised: float, auc: float) -> dict[str, Any]:
    """Every value with an interval that reaches `HALF` to either side."""
    found: dict[str, Any] = {"suite": "s", "model": model}
    values = {"robust_accuracy": robust, "evaluator_accuracy": recognised, "membership_auc": auc}
    for name, value in values.items():
        found |= {name: value, f"{name}_low": value - HALF, f"{name}_high": value + HALF}
    return found


def test_who_is_on_the_front_with_the_largest_auc_has_it_on_its_badge() -> None:
    board = [line("robust", 0.8, 0.9, 0.6), line("private", 0.5, 0.2, 0.55), line("neither", 0.4, 0.9, 0.58)]
    front(board, [])
    assert [row["pareto"] for row in board] == [True, True, False]
    assert board[0]["pareto_note"].endswith("; but its membership AUC, 0.600, is the largest of the suite")
    assert board[1]["pareto_note"].endswith("significantly worse in none") and board[2]["pareto_note"] is None


def test_one_model_alone_is_not_the_largest_of_several() -> None:
    board = [line("alone", 0.8, 0.9, 0.6)]
    front(board, [])
    assert board[0]["pareto"] and "largest" not in board[0]["pareto_note"]


def test_a_value_without_an_interval_has_no_place() -> None:
    board = [line("first", 0.8, 0.9, 0.6), line("second", 0.5, 0.9, 0.6), line("bare", 0.9, 0.9, 0.6)]
    board[2] |= {"robust_accuracy_low": None, "robust_accuracy_high": None}
    board[0]["mean_distance"] = board[0]["distance_ratio"] = 1.0  # no interval is declared for these
    rows = places(board, [])
    found = {row["model"]: (row["best"], row["worst"]) for row in rows if row["metric"] == "robust_accuracy"}
    assert found == {"first": (1, 1), "second": (2, 2)}
    assert {row["metric"] for row in rows} == {"robust_accuracy", "evaluator_accuracy", "membership_auc"}
