"""A row whose primary attack is beaten by more than a point says so, beside its robust accuracy and on its page."""

from pathlib import Path

import pytest
from site_fixture import GAPS, HANDED_IN, MODELS, PGD, SUITE, leaderboard_row, result, results

from leaderboard.beaten import attacks, beaten
from leaderboard.slugs import slug

BEATEN = "small_resnet_pgd_at"


def of(model):
    return leaderboard_row(SUITE, model), [row for row in results() if row["model"] == model]


def test_only_rows_whose_gap_is_above_a_point_are_flagged():
    assert {model for model in MODELS if beaten(*of(model))} == {BEATEN}
    found = beaten(*of(BEATEN))
    assert found["points"] == "3.4 points"
    assert found["tip"].startswith("all attacks on the same images leave 67.0%, 3.4 points less than the primary one")
    assert found["tip"].endswith(f"in points: {HANDED_IN} (3.4)")


@pytest.mark.parametrize(("gap", "flagged"), [(None, False), (0.0, False), (0.01, False), (0.0101, True)])
def test_a_gap_of_a_point_is_not_flagged(gap, flagged):
    row = leaderboard_row(SUITE, BEATEN) | {"attack_gap": gap}
    assert bool(beaten(row, [])) == flagged


def test_the_attacks_of_a_row_with_the_primary_one_first():
    row, found = of(BEATEN)
    elsewhere = result(SUITE, BEATEN, None, stage="evade", method="pgd linf 0.5", metric="robust_accuracy", value=0.0)
    primary, given = attacks(row, [elsewhere, *found])
    assert (primary["method"], primary["primary"], primary["beyond"]) == (PGD, True, None)
    assert (given["method"], given["beyond"], given["missed"]) == (HANDED_IN, GAPS[BEATEN], 0.25)
    assert given["note"] == "replica 0: handed in: 37 of the 1000 images; the others are clean"


def test_the_page_says_so(site: Path):
    index = (site / "index.html").read_text(encoding="utf-8")
    assert index.count(">beaten by 3.4 points<") == 1
    own = (site / "models" / f"{slug(SUITE, BEATEN)}.html").read_text(encoding="utf-8")
    assert "<strong>Beaten by 3.4 points:</strong> all attacks" in own and "<b>ann</b>" not in own
    assert "&lt;b&gt;ann&lt;/b&gt;" in own and ">Evasion attacks</h2>" in own
    less = (site / "models" / f"{slug(SUITE, 'small_resnet')}.html").read_text(encoding="utf-8")
    assert "Beaten by" not in less and ">Evasion attacks</h2>" in less
    none = (site / "models" / f"{slug(SUITE, 'softmax_regression')}.html").read_text(encoding="utf-8")
    assert ">Evasion attacks</h2>" not in none
