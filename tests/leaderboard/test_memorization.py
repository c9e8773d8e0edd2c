"""What the page of a model says of single images, and the charts beside it."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pyarrow as pa
import pytest
from site_fixture import HOSTILE, MEMORISING, SUITE, correlations, images, picture, png, result, trial

from benchmark import schema
from leaderboard import memorization
from leaderboard.build import build
from leaderboard.memorization import MOST_SHOWN, curves, section
from leaderboard.parquet_rows import parts
from leaderboard.slugs import slug
from leaderboard.svg_charts import cloud, roc

TABLE = pa.Table.from_pylist(images(), schema=schema.IMAGES)
SHOWN = pa.Table.from_pylist(
    [{"image_id": i, "class_id": 0, "class_name": "Bag", "image_png": png(picture(0, i, 0.1))} for i in range(1, 40)],
    schema=schema.PICTURES,
)
NONE = SHOWN.schema.empty_table()


def test_the_most_memorised_images_that_have_a_picture_come_first() -> None:
    found = section("gradient", TABLE, correlations(), [], SHOWN)
    assert [image["id"] for image in found["most"]] == list(range(1, MOST_SHOWN + 1))
    assert (found["most"][1]["value"], found["most"][1]["error"], found["why"]) == ("0.99", "0.12", "")
    assert found["num_images"] == 239 and len(found["charts"]) == 2 and len(found["correlations"]) == 3


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(0.1, 0.3, "Yes in pixel"), (-0.3, -0.1, "The reverse in pixel"), (-0.1, 0.1, "Not that")],
)
def test_the_answer_follows_from_the_interval_of_the_gap(low: float, high: float, answer: str) -> None:
    place = {"stage": "memorization", "method": "gradient", "space": "pixel", "n": 100}
    row = result(
        SUITE, MEMORISING, None, metric="memorization_exposure_gap", value=(low + high) / 2, low=low, high=high, **place
    )
    assert section("gradient", TABLE, [row], [], NONE)["answer"].startswith(answer)
    other = row | {"method": "multiscale"}
    assert section("gradient", TABLE, [other], [], NONE)["answer"] == "", "of another attack"


def test_what_was_not_measured_says_why() -> None:
    def why(results: list, status: list) -> str:
        return section("gradient", TABLE.schema.empty_table(), results, status, NONE)["why"]

    query, joined = (
        trial(SUITE, "small_vgg", r, s, "missing", None) for r, s in ((1, "query"), (None, "memorization"))
    )
    assert "no trials that ask every replica" in why([], []) == why([], [query])
    assert why([], [joined, query]) == "not run yet: 2 of 2 trials are missing, the first is query of replica 1"
    assert why([], [joined, query | {"state": "failed", "error": "boom"}]) == "query of replica 1 failed: boom"
    note = result(SUITE, "small_vgg", None, stage="memorization", metric="memorization_mean", note="one replica")
    assert why([note], [joined | {"state": "done"}]) == "one replica"
    assert why([], [joined | {"state": "done"}]) == "the results give no reason"


def test_roc_points_lie_where_their_logarithms_do() -> None:
    svg = roc({"lira": [(0.01, 0.1), (1.0, 1.0)], "<b>": [(0.01, 0.0), (1.0, 1.0)]})
    paths = {p.get("class"): p.get("d") for p in ElementTree.fromstring(svg) if p.tag == "path"}
    (left, middle), (right, top) = (map(float, point.split()) for point in paths["series-1"][1:].split("L"))
    (_, bottom), _ = (map(float, point.split()) for point in paths["series-2"][1:].split("L"))
    assert (left, right) == (58, 458) and middle == pytest.approx((top + bottom) / 2)
    assert "&lt;b&gt;" in svg


def test_a_cloud_has_a_dot_a_point_and_survives_one_value() -> None:
    svg = cloud([(0.5, 3.0), (-1.0, 0.0)], "a < b", ("x", "y"), (0.0, 5.0))
    assert len(re.findall(r"h0", svg)) == 2 and ElementTree.fromstring(svg).get("aria-label") == "a < b"


def test_curves_tell_what_they_cannot_resolve() -> None:
    rows = [{"method": "lira", "fpr": f, "tpr": t} for f, t in ((0.005, 0.2), (0.05, 0.5), (1.0, 1.0))]
    found = curves([*rows, rows[0] | {"fpr": math.nan}])
    assert found is not None and found["legend"][0]["rates"] == ["50.0%", "20.0%", ""]
    assert curves([]) is None


def test_a_table_is_parted_by_a_column() -> None:
    table = pa.table({"name": ["b", None, "a", "b"], "at": [0, 1, 2, 3]})
    assert {name: part["at"].to_pylist() for name, part in parts(table, "name").items()} == {
        "b": [0, 3], None: [1], "a": [2]
    }  # fmt: skip
    assert parts(table.slice(0, 0), "name") == {}


def test_old_results_without_these_tables_make_a_page_that_says_so(empty_site) -> None:
    for name in ("images", "roc"):
        (empty_site / f"{name}.parquet").unlink()
    build(empty_site)
    text = (empty_site / "models" / f"{slug(SUITE, 'small_resnet')}.html").read_text()
    assert "Not measured: no membership attack" in text and "Not measured: these results hold no trials" in text


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 375])
def test_single_images_in_a_browser(visit, width: int) -> None:
    page = visit(f"models/{slug(SUITE, MEMORISING)}.html", width=width)
    part = page.locator("section[aria-labelledby=memory-title]")
    assert part.locator("img").count() == MOST_SHOWN and all(
        part.locator("img").evaluate_all("all => all.map(i => i.alt)")
    )
    assert part.locator("img").first.evaluate("i => i.decode().then(() => i.naturalWidth)") == 28
    assert part.locator("svg.chart").count() == 2 and "Yes in pixel" in part.locator("[data-answer]").inner_text()
    attacks = page.locator("section[aria-labelledby=membership-title] tbody th .name").all_inner_texts()
    assert attacks == ["lira", "loss_threshold", HOSTILE]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pairs_are_metrics_that_are_declared() -> None:
    from benchmark.metrics import METRICS

    assert set(memorization._PAIRS) <= {metric.name for metric in METRICS}
