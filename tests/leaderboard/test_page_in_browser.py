"""The built page in Chromium, over file://. `visit` fails a test on any error, dialog or request elsewhere."""

import re

import pytest
from site_fixture import FAILED, FAILURE, HOSTILE, MODELS, RUNNING, SUITE

from leaderboard.slugs import slug

pytestmark = pytest.mark.browser

BY_CLEAN = sorted(MODELS, key=lambda m: -MODELS[m][4])
FIGURE = ".plot .main-svg"
PARETO = {"small_vgg", "small_resnet", "small_resnet_pgd_at", HOSTILE}


def models(page) -> list[str]:
    """Names in the visible rows of the visible ranking, from the top."""
    return page.locator("section.suite:visible table.rank tbody tr:visible th .name").all_inner_texts()


def head(page, name: str):
    return page.locator(f'section.suite:visible th[data-name="{name}"]')


def widths(page) -> tuple[int, int]:
    return tuple(page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]"))


def luminance(page, selector: str) -> float:
    colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).backgroundColor")
    return sum(float(part) for part in re.findall(r"[\d.]+", colour)[:3]) / (3 * 255)


def test_starts_with_the_most_robust_and_sorts_on_click(index):
    assert models(index)[0] == "small_resnet_pgd_at"
    assert head(index, "robust_accuracy").get_attribute("aria-sort") == "descending"
    assert models(index)[-1] == FAILED, "an empty cell sorts last"
    button = head(index, "clean_accuracy").get_by_role("button")
    button.click()
    assert models(index) == BY_CLEAN
    assert head(index, "clean_accuracy").get_attribute("aria-sort") == "descending"
    assert head(index, "robust_accuracy").get_attribute("aria-sort") is None
    button.press("Enter")
    assert models(index) == BY_CLEAN[::-1]


def test_lower_is_better_sorts_upwards_with_empty_cells_last(index):
    head(index, "evaluator_accuracy").get_by_role("button").click()
    assert head(index, "evaluator_accuracy").get_attribute("aria-sort") == "ascending"
    known = [m for m in MODELS if MODELS[m][6] is not None]
    assert models(index) == [*sorted(known, key=lambda m: MODELS[m][6]), FAILED]


def test_overlapping_intervals_share_a_rank(index):
    places = index.locator("section.suite:visible table.rank td.place").all_inner_texts()
    assert [place.split("\n")[0].strip() for place in places] == ["1", "2", "3–5", "3–5", "3–5", ""]
    tied = index.locator("td.place .tied").first
    tied.focus()
    assert "small_vgg" in index.locator("#tip").inner_text()


def test_filters_by_text_regime_and_front(index):
    box = index.locator('section.suite:visible [data-filter="q"]')
    box.fill("VGG stand")
    assert models(index) == ["small_vgg"]
    assert index.locator("section.suite:visible [data-count]").inner_text() == "1 of 6 models"
    box.fill("no such model")
    assert models(index) == []
    box.fill("")
    index.locator('section.suite:visible [data-filter="regime"]').select_option("pgd_at")
    assert set(models(index)) == {"small_resnet_pgd_at", HOSTILE}
    index.locator('section.suite:visible [data-filter="regime"]').select_option("")
    index.locator('section.suite:visible [data-filter="pareto"]').check()
    assert set(models(index)) == PARETO


def test_link_reproduces_the_view(index, visit):
    shown = index.locator("section.suite:visible")
    head(index, "in_rate").get_by_role("button").click()
    shown.locator('[data-filter="arch"]').select_option("small_resnet")
    shown.locator('[data-filter="q"]').fill("linf")
    shown.locator('[data-axis="y"]').select_option("membership_auc")
    shown.locator('[data-axis="x"]').select_option("clean_accuracy")
    shown.locator("details.columns summary").click()
    shown.locator('[data-column="exposure_gini"]').check()
    shown.locator('[data-column="clean_accuracy"]').uncheck()
    other = visit("index.html#" + index.url.partition("#")[2])
    assert models(other) == models(index) == [HOSTILE, "small_resnet_pgd_at"]
    assert head(other, "in_rate").get_attribute("aria-sort") == "ascending"
    assert head(other, "exposure_gini").is_visible() and not head(other, "clean_accuracy").is_visible()
    assert other.locator('section.suite:visible [data-axis="y"]').input_value() == "membership_auc"
    titles = "p => [p.layout.xaxis.title.text, p.layout.yaxis.title.text]"
    drawn = other.locator("section.suite:visible .plot").evaluate(titles)
    assert drawn[0].startswith("clean accuracy") and drawn[1].startswith("membership AUC")
    assert other.url.partition("#")[2] == index.url.partition("#")[2]


def test_foolish_link_falls_back_to_the_defaults(visit):
    page = visit("index.html#suite=none&sort=constructor&dir=up&cols=__proto__&x=y&y=<b>&q=%E0%A4%A")
    assert page.locator("section.suite:visible").get_attribute("data-suite") == SUITE
    assert head(page, "robust_accuracy").get_attribute("aria-sort") == "descending"


def test_figure_has_intervals_front_and_null_line(index):
    plot = index.locator("section.suite:visible .plot")
    assert plot.evaluate("p => Plotly.validate(p.data, p.layout) ?? []") == []
    traces = plot.evaluate("p => p.data.map(t => ({name: t.name, x: t.x, y: t.y, up: t.error_x?.array, text: t.text}))")
    by_name = {trace["name"]: trace for trace in traces}
    assert by_name["front of the two"]["x"] == pytest.approx([0.0, 0.2, 1.1, 51.2, 70.4])
    assert by_name["pgd_at"]["x"] == pytest.approx([70.4, 51.2])
    assert by_name["pgd_at"]["up"] == pytest.approx([1.8, 1.8])
    assert plot.evaluate("p => p.layout.shapes.length") == 0
    index.locator('section.suite:visible [data-axis="y"]').select_option("in_rate")
    assert plot.evaluate("p => p.layout.shapes.map(s => s.y0)") == [0.5]
    assert plot.evaluate("p => Plotly.validate(p.data, p.layout) ?? []") == []


def test_figure_offers_to_send_nothing_away(index):
    buttons = index.locator("section.suite:visible .modebar-btn").evaluate_all("all => all.map(b => b.dataset.title)")
    assert buttons == ["Download plot", "Zoom", "Pan", "Reset axes"]


def test_click_on_a_point_opens_its_model(visit):
    page = visit("index.html")
    point = page.locator("section.suite:visible .plot .scatterlayer .trace .points path").first
    point.hover(force=True)
    assert "robust accuracy 70.4% [68.6%, 72.2%]" in page.locator(".hoverlayer").first.text_content()
    box = point.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url("**/models/**")
    assert page.locator("h1").inner_text() == "small_resnet_pgd_at"


def test_model_link_leads_to_numbers_command_and_gallery(visit):
    page = visit("index.html")
    page.locator("table.rank").get_by_role("link", name="small_resnet_pgd_at").click()
    page.wait_for_url(f"**/models/{slug(SUITE, 'small_resnet_pgd_at')}.html")
    command = page.locator("pre.command").inner_text()
    include = f"--include 'my methods/own.py' --include '{HOSTILE}'"
    assert command == f"bench run suites/quick.yaml {include} --only small_resnet_pgd_at --rerun all"
    assert "86.1%" in page.locator(".measures").inner_text()
    first = page.locator("#pictures img").first
    first.evaluate("i => i.decode()")
    assert first.evaluate("i => i.naturalWidth") == 28
    assert first.bounding_box()["width"] >= 60
    assert first.evaluate("i => getComputedStyle(i).imageRendering") == "pixelated"
    page.get_by_role("link", name="leaderboard").click()
    page.wait_for_url("**/index.html#suite=quick")


def test_hostile_name_stays_text(visit):
    page = visit("index.html#suite=quick&q=onerror")
    assert models(page) == [HOSTILE]
    label = page.locator("section.suite:visible .plot .textpoint text")
    assert HOSTILE in label.all_text_contents()
    point = page.locator("section.suite:visible .plot .scatterlayer .trace .points path").first
    point.hover(force=True)
    assert HOSTILE in page.locator(".hoverlayer").first.text_content()
    assert page.locator("img:not([src^='data:image/png'])").count() == 0
    page.locator("table.rank").get_by_role("link", name=HOSTILE).click()
    page.wait_for_url("**/models/**")
    assert page.locator("h1").inner_text() == HOSTILE
    assert page.title().startswith(HOSTILE)
    page.locator("[data-picture=nearest] .class").first.wait_for()
    assert page.locator("#pictures .class h4 bdi").first.text_content() == HOSTILE
    assert HOSTILE in page.locator("[data-picture=exposed]").text_content()
    assert HOSTILE in page.locator("[data-choice=class] option").all_inner_texts()
    assert page.locator('img[src="x"]').count() == 0
    assert f"--only '{HOSTILE}'" in page.locator("pre.command").inner_text()


def test_figure_reads_no_markup_in_names(visit):
    page = visit("index.html")
    name, regime = "<b>x</b><br>&lt;y&gt;", "<i>z</i>&amp;"
    page.evaluate(
        """([model, regime]) => {
            const figure = document.querySelector("[data-figure]"), data = page.data(figure);
            data.points = [{ ...data.points[3], model, regime, architecture: regime }];
            page.figure.draw(figure, data, {}, new Set([model]));
        }""",
        [name, regime],
    )
    assert page.locator(".plot .textpoint text").text_content() == name
    assert regime in page.locator(".plot .legend").text_content()
    page.locator(".plot .scatterlayer .trace .points path").first.hover(force=True)
    hover = page.locator(".hoverlayer").first
    assert name in hover.text_content() and f"{regime}, {regime}" in hover.text_content()


def test_empty_cell_says_why_to_mouse_keyboard_and_reader(visit):
    page = visit("index.html#suite=quick&q=" + FAILED)
    why = page.locator("table.rank tbody tr:visible td:visible .why").first
    assert FAILURE in why.text_content()
    tip = page.locator("#tip")
    why.hover()
    assert FAILURE in tip.inner_text()
    page.mouse.move(5, 5)
    assert tip.is_hidden()
    why.focus()
    assert FAILURE in tip.inner_text() and why.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_tabs_by_mouse_and_keyboard(index):
    index.get_by_role("tab", name=RUNNING).click()
    assert models(index) == ["resnet18", "vgg16"]
    assert "No model has both" in index.locator("section.suite:visible figcaption").inner_text()
    assert index.url.endswith("#suite=cifar+%26+co")
    index.keyboard.press("ArrowRight")
    assert index.locator("section.suite:visible").get_attribute("data-suite") == SUITE


def test_way_back_from_a_model_leads_to_its_suite(visit):
    page = visit(f"models/{slug(RUNNING, 'vgg16')}.html")
    page.get_by_role("link", name="leaderboard").click()
    page.wait_for_url("**/index.html#suite=*")
    assert page.locator("section.suite:visible").get_attribute("data-suite") == RUNNING


@pytest.mark.parametrize(
    "path", ["index.html", f"models/{slug(SUITE, HOSTILE)}.html", f"models/{slug(SUITE, FAILED)}.html"]
)
def test_no_sideways_scroll_on_a_phone(visit, path):
    page = visit(path, width=375)
    for summary in page.locator("summary:visible").all():
        summary.click()
    scroll, client = widths(page)
    assert scroll <= client <= 375
    if path == "index.html":
        page.locator('section.suite:visible [data-columns="all"]').click()
        assert widths(page)[0] <= 375
        box = page.locator("section.suite:visible .ranking .scroll")
        assert box.evaluate("b => b.scrollWidth > b.clientWidth"), "the table scrolls in its own box"


def test_dark_mode_reaches_page_and_figure(visit):
    light, dark = visit("index.html"), visit("index.html", dark=True)
    for selector in ("body", FIGURE):
        assert luminance(light, selector) > 0.9
        assert luminance(dark, selector) < 0.2
    light.emulate_media(color_scheme="dark")
    light.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert luminance(light, "body") < 0.2
    assert luminance(light, FIGURE) < 0.2


def test_page_prints_on_white_paper(visit):
    page = visit("index.html", dark=True)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert luminance(page, "body") > 0.9
    assert page.evaluate("document.querySelector('.plot').layout.paper_bgcolor") == "#fff"
    assert page.get_by_text("data: fashion_mnist_13k").is_visible(), "what is folded is printed too"
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert luminance(page, "body") < 0.2


def test_failed_controls_are_marked(index):
    assert "injected_noisy" in index.locator("section.suite:visible .notice.bad").inner_text()
    assert "controls not passed" in head(index, "in_rate_target").text_content()
    assert "controls not passed" not in head(index, "in_rate").text_content(), "passed in the evaluator's space"
    failed = index.locator("section.suite:visible tr.failed")
    assert failed.count() == 1 and "not passed" in failed.inner_text()
