"""Curves and corruptions on the page: what is drawn, what is said, and what is left out."""

import math
import re
from pathlib import Path

import pytest
from site_fixture import HOSTILE, MODELS, SUITE, result

from leaderboard.robustness_curves import MOST_LINES, curves, over_models, section
from leaderboard.slugs import slug
from leaderboard.svg_charts import bands


def at(space: str, value: float | None, metric: str = "robust_accuracy_at", **more: object) -> dict:
    place = {"stage": "robustness_curve", "metric": metric, "space": space, "value": value}
    return result(SUITE, "m", None, **{**place, "low": 0.0, "high": 1.0, **more})


def test_curves_are_sorted_and_what_is_no_point_is_passed_over() -> None:
    replica = {**at("linf 0.2", 0.1), "replica": 0}
    rows = [at("linf 0.1", 0.5, low=0.4, high=0.6), at("linf 0", 0.9), replica, at("l2 1", 0.3)]
    rows += [at("linf x", 0.1), at("linf", 0.1), at("linf nan", 0.1), at("linf inf", 0.1), at("linf -1", 0.1)]
    rows += [at("linf 0.3", None), at("linf 0.4", 1.5), at("linf 0.5", 0.5, low=None), at("linf 1e300", 0.5)]
    rows += [at("linf 0.6", 0.5, stage="evade"), at("", 0.5), {**at("", 0.5), "space": None}]
    assert curves(rows) == {"linf": [(0.0, 0.9, 0.0, 1.0), (0.1, 0.5, 0.4, 0.6)]}, "a line needs two points"
    assert section([]) is None and over_models({"m": []}) == []


def test_line_and_band_by_hand() -> None:
    """The plot is 400 wide from 58 and 262 high from 12: (0, 1) is its upper left corner, (2, 0) its lower right."""
    svg = str(bands({"a<b": [(0.0, 1.0, 0.5, 1.0), (2.0, 0.0, 0.0, 0.5)]}, 'say "so"', "l2 radius"))
    assert '<path class="series-1" d="M58 12L458 274"><title>a&lt;b</title></path>' in svg
    assert '<path class="band series-1" d="M58 12L458 143L458 274L58 143Z"/>' in svg
    assert 'role="img" aria-label="say &#34;so&#34;"' in svg and ">l2 radius<" in svg


def test_of_many_models_the_highest_are_drawn() -> None:
    models = {
        f"m{i}": [at("l2 0", 1.0), at("l2 1", i / 20), at("l2", i / 10, metric="median_smallest_perturbation")]
        for i in range(MOST_LINES + 3)
    }
    (chart,) = over_models(models)
    assert [line["name"] for line in chart["legend"]] == [f"m{i}" for i in range(MOST_LINES + 2, 2, -1)]
    assert chart["left_out"] == 3 and chart["svg"].count("<title>") == MOST_LINES
    assert chart["legend"][0]["median"]["text"] == "1.400"
    assert len({line["style"] for line in chart["legend"]}) == MOST_LINES


def test_the_page_of_a_model_has_its_curves_and_numbers(site: Path) -> None:
    text = (site / "models" / f"{slug(SUITE, 'small_vgg')}.html").read_text()
    part = text[text.index('id="robustness-title"') :]
    part = part[: part.index("</section>")]
    assert part.count("<svg") == 2 and part.count('class="band series-1"') == 2
    assert "Median smallest linf perturbation, by fmn: 0.025 [0.020, 0.033]" in part
    assert "gaussian noise" in part and "severity 5" in part and "<strong>60.0</strong> [57.0, 63.0]" in part
    assert len(re.findall(r'<th scope="row">[^<]+</th><td class="number">', part)) == 18 + 2
    hostile = (site / "models" / f"{slug(SUITE, HOSTILE)}.html").read_text()
    assert "infinite: half stand" in hostile and "Common corruptions" not in hostile


def test_the_index_has_a_line_a_model(site: Path) -> None:
    text = (site / "index.html").read_text()
    part = text[text.index(">Robust accuracy against epsilon<") : text.index(">Night and day<")]
    measured = [model for model, values in MODELS.items() if values[5] is not None]
    assert part.count('class="chart"') == 2 and part.count('class="key"') == 2 * len(measured)
    assert all(f"{slug(SUITE, model)}.html#robustness-title" in part for model in measured)
    assert part.count("<title>") == 2 * len(measured) and HOSTILE not in part


@pytest.mark.browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_charts_follow_the_colours_of_the_page(visit, dark: bool) -> None:
    for path in (f"models/{slug(SUITE, 'small_vgg')}.html", "index.html"):
        page = visit(path, dark=dark)
        colours = page.evaluate(
            """() => [...document.querySelectorAll('.chart .band')].map(band => {
                const line = document.querySelector('.chart > path:not(.band).' + band.classList[1]);
                return [getComputedStyle(band).fill, getComputedStyle(line).stroke, getComputedStyle(band).stroke];
            })"""
        )
        assert colours and all(fill == stroke and edge == "none" for fill, stroke, edge in colours)
        assert colours[0][0] == ("rgb(86, 180, 233)" if dark else "rgb(0, 114, 178)")
        box = page.locator(".chart").first.bounding_box()
        assert box and box["width"] > 200 and math.isclose(box["height"] / box["width"], 320 / 480, rel_tol=0.02)
