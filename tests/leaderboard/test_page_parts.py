"""File names, ranks, number formats, reasons, the payload of the figure: the parts by themselves."""

import itertools

import pytest
from site_fixture import HOSTILE, MODELS, SUITE, control_results, leaderboard_row, result, trial

from benchmark import schema
from leaderboard import pages
from leaderboard.charts import scatter, strips
from leaderboard.columns import BY_NAME, COLUMNS, describe, epsilon, plain, show
from leaderboard.compared import compared
from leaderboard.pages import controls, replicas
from leaderboard.ranking import Rank, ranks
from leaderboard.reasons import UNKNOWN, doubts, why_empty
from leaderboard.slugs import slug

NAMES = [
    HOSTILE, "../../etc", "..", "", " ", "con", "a", "A", "a b", "a-b", "a--b", "a_b", "a.b", "a/b", "a\\b", "é", "e",
    "x" * 300, "x" * 301, "\u202egnp.exe", "a\0b", "日本", "-rf", "a\nb", "a--b--c",
]  # fmt: skip


def test_slugs_are_safe_and_differ_even_where_case_is_folded():
    slugs = {slug(suite, model).casefold() for suite, model in itertools.product(NAMES, NAMES)}
    assert len(slugs) == len(NAMES) ** 2
    for name in slugs:
        assert name.isascii() and len(name) < 150
        assert not set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
        assert not name.startswith((".", "-"))


def test_plain_names_keep_a_readable_slug():
    assert slug("quick", "small_resnet_pgd_at") == "quick--small_resnet_pgd_at"


def test_every_measure_of_the_schema_is_a_column():
    hidden = {
        "suite",
        "model",
        "masking_suspected",
        "controls_passed",
        "pareto",
        "pareto_note",
        "checkpoint",
        "currency",
        "git_commit",
        "suite_hash",
    }
    ends = {f"{name}_{end}" for name in schema.STARRED for end in ("low", "high")}
    assert {c.name for c in COLUMNS} == set(schema.LEADERBOARD.names) - ends - hidden
    assert all(describe(c.name) for c in COLUMNS)


def place(model: str, best: int, worst: int, *tied: str) -> dict:
    return {"model": model, "metric": "m", "best": best, "worst": worst, "num_tied": len(tied), "tied": list(tied)}


def test_ranks_are_those_of_the_table():
    rows = [place("b", 2, 3, "c"), place("a", 1, 1), place("c", 2, 3, "b"), place("gone", 1, 1)]
    found = ranks(rows, ["a", "b", "c", "unmeasured"])
    assert [r and str(r) for r in found["m"]] == ["1", "2–3", "2–3", None]
    assert found["m"][1].tied == ("c",)
    assert ranks([place("a", 1, 1) | {"best": None}], ["a"]) == {}, "a row that says no place gives none"


def test_a_model_is_compared_as_seen_from_it():
    row = {"metric": "clean_accuracy", "model": "a", "other": "b", "p_value": 0.0, "paired": True}
    row |= {"difference": 0.1, "low": 0.05, "high": 0.2, "p_holm": 0.0004}
    ((block,), (of_b,)) = (compared([row, row | {"metric": "unknown"}], model) for model in ("a", "b"))
    assert block["column"].name == "clean_accuracy"
    assert block["lines"] == [
        {"other": "b", "text": "10.0", "interval": "5.0, 20.0", "p": "< 0.001", "told": True, "paired": True}
    ]
    assert (of_b["lines"][0]["text"], of_b["lines"][0]["interval"]) == ("-10.0", "-20.0, -5.0")
    assert compared([row], "c") == []


def test_what_neither_end_of_is_better_has_no_rank():
    assert [c.name for c in COLUMNS if c.better and not c.ranked] == []
    assert not any(c.ranked for c in COLUMNS if c.metric == "in_rate")


@pytest.mark.parametrize(
    ("value", "shown"), [(8 / 255, "8/255"), (0.1, "0.1"), (0.0, "0"), (2 / 255, "2/255"), (0.031, "0.031")]
)
def test_epsilon_is_written_as_the_field_writes_it(value, shown):
    assert epsilon(value) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("clean_accuracy", 0.7994, "79.9"),
        ("in_rate", 0.5, "0.500"),
        ("in_rate", None, ""),
        ("in_rate", float("nan"), ""),
        ("num_members", 13000, "13,000"),
        ("wall_s", 31.25, "31.2 s"),
        ("wall_s", 7300.0, "2.0 h"),
        ("gpu_hours", 0.256, "0.26"),
        ("cost", 1234.5, "1,234.50"),
        ("regime", None, ""),
    ],
)
def test_cells_print_in_their_unit(name, value, shown):
    assert show(BY_NAME[name], value) == shown


def test_plain_numbers_keep_their_digits():
    assert [plain(v) for v in (0.0, 0.12345, 1e-6, 123456.0, None, float("inf"))] == [
        "0.000", "0.123", "1e-06", "1.23e+05", "", ""
    ]  # fmt: skip


def test_reason_prefers_the_note_then_the_failure_then_what_is_missing():
    column, primary = BY_NAME["in_rate_target"], {"invert": "gradient", "leakage": "gradient"}
    note = result(SUITE, "m", None, stage="leakage", method="gradient", metric="in_rate", note="too few images")
    note |= {"space": "target"}
    by_name = note | {"metric": "in_rate_target", "space": "", "note": "leakage failed"}
    others = [note | {"space": "pixel"}, note | {"method": "gan"}, note | {"stage": "control"}, note | {"metric": "x"}]
    failed = trial(SUITE, "m", 1, "invert", "failed", "RuntimeError: out of memory")
    missing = trial(SUITE, "m", 0, "leakage", "missing", None)
    elsewhere = trial(SUITE, "m", 0, "evade", "failed", "another step")
    other_attack = failed | {"method": "gan", "error": "another attack"}
    assert why_empty(column, [*others, note], [failed, missing], primary) == "too few images"
    assert why_empty(column, [*others, by_name], [failed, missing], primary) == "leakage failed"
    why = why_empty(column, others, [missing, elsewhere, other_attack, failed], primary)
    assert why == "invert (gradient) of replica 1 failed: RuntimeError: out of memory"
    assert why_empty(column, [], [missing, elsewhere], primary).startswith("not run yet: 1 of 1 trials")
    assert why_empty(column, [], [elsewhere, other_attack], primary) == UNKNOWN
    assert why_empty(BY_NAME["train_epsilon"], [], [], primary) == "none: trained against no adversary"


def test_a_failure_of_any_membership_attack_leaves_the_strongest_one_empty():
    failed = trial(SUITE, "m", 1, "infer_membership", "failed", "boom") | {"method": "lira"}
    why = why_empty(BY_NAME["membership_auc"], [], [failed], {"infer_membership": "strongest"})
    assert why == "infer_membership (lira) of replica 1 failed: boom"


def test_doubt_is_a_note_on_the_primary_attack_over_all_replicas():
    column, primary = BY_NAME["in_rate"], {"leakage": "gradient"}
    row = result(SUITE, "m", None, stage="leakage", method="gradient", metric="in_rate", value=0.5, note="few")
    row |= {"space": ""}
    others = [row | {"method": "gan"}, row | {"replica": 0}, row | {"space": "pixel"}, row | {"value": None}]
    assert doubts(column, others, primary) == ""
    assert doubts(column, [*others, row], primary) == "few"


def test_scatter_offers_only_axes_with_numbers():
    rows = [leaderboard_row(SUITE, m) for m in MODELS]
    data = scatter(rows, [f"models/{i}.html" for i in range(len(rows))])
    assert data["x"][0] == "robust_accuracy" and data["y"][0] == "evaluator_accuracy"
    assert "tpr_at_0_1pct_fpr" not in data["axes"], "empty in every row"
    assert data["axes"]["in_rate"]["null"] == 0.5
    point = data["points"][3]
    assert point["values"]["robust_accuracy"] == pytest.approx((0.704, 0.686, 0.722))
    assert not point["masking"]
    assert "robust_accuracy" not in data["points"][-1]["values"]


def test_strips_keep_order_and_stay_inside():
    rows = [leaderboard_row(SUITE, m) for m in MODELS]
    found = strips(rows, BY_NAME["in_rate"])
    own = found[3]
    assert 0 < own["low"] < own["value"] < own["high"] < 100
    assert own["null"] < own["value"] and own["all"].count("M") == 5
    assert f"M{own['value']:g} 3v6" in own["all"]
    assert found[5] is None and {id(strip["all"]) for strip in found if strip} == {id(own["all"])}
    assert strips([{"in_rate": 0.5}], BY_NAME["in_rate"])[0]["value"] == 50.0
    assert strips([{"in_rate": None}], BY_NAME["in_rate"]) == [None]


def test_a_cell_names_the_models_of_its_row_and_counts_the_others():
    assert pages._tied(Rank(1, 2, 2, ("a", "b"))) == "a, b"
    assert pages._tied(Rank(1, 20, 5, ("a", "b"))) == "a, b and 3 more"


def of_areas(*areas: float | None, off_front: float | None = None) -> pages.Suite:
    """Models 0, 1, ... with these membership AUCs, and one that the Pareto front was not drawn with."""
    rows = [{"model": str(i), "pareto": i == 0, "membership_auc": area} for i, area in enumerate(areas)]
    rows += [{"model": "off", "pareto": None, "membership_auc": off_front}]
    ends = {f"membership_auc_{end}": 0.5 for end in ("low", "high")}
    return pages.Suite(SUITE, {}, [row | ends for row in rows], [], [], [], [])


def test_who_has_the_largest_membership_auc_follows_from_the_column():
    assert of_areas(0.6, 0.7, 0.7, None, off_front=0.9).most_exposed == {"1", "2"}
    assert of_areas(0.6).most_exposed == set(), "alone it is nobody's largest"
    assert of_areas(None, None).most_exposed == set()
    suite = of_areas(0.7, 0.6)
    suite.models[0]["membership_auc_low"] = None
    assert suite.most_exposed == {"1"}, "without an interval it is not compared"


class _Suite:
    results = control_results()


def test_controls_pass_fail_or_have_not_run():
    found = controls(_Suite())
    assert found["spaces"] == ["evaluator", "target", "pixel"]
    assert [line["name"] for line in found["failed"]] == ["injected_noisy"]
    memoriser = found["lines"][0]
    assert memoriser["passed"] is True and memoriser["rates"][0]["text"] == "0.970"
    assert found["distrusted"] == {"target"}
    assert [rate["failed"] for rate in found["failed"][0]["rates"]] == [False, True, False]
    unfinished = _Suite()
    unfinished.results = [r | {"value": None} for r in control_results()]
    assert {line["passed"] for line in controls(unfinished)["lines"]} == {None}


def test_replicas_stand_side_by_side():
    rows = [
        result(SUITE, "m", r, stage="evade", metric="robust_accuracy", value=v)
        for r, v in ((1, 0.2), (0, 0.1), (None, 0.15))
    ]
    (block,) = replicas(rows)
    assert block["heads"] == [None, 0, 1]
    assert [v["text"] for v in block["lines"][0]["values"]] == ["0.150", "0.100", "0.200"]
    (block,) = replicas([row | {"space": "" if row["replica"] is None else None} for row in rows])
    assert len(block["lines"]) == 1, "no space is written as null or as nothing"
