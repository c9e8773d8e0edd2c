"""The pictures of a model page in Chromium, over file://. `visit` fails a test on any error or request elsewhere."""

import re

import pytest
from site_fixture import CLASSES, FAILED, HOSTILE, MODELS, SUITE

from leaderboard.build import build
from leaderboard.slugs import slug

pytestmark = pytest.mark.browser
KINDS = ("night", "samples", "nearest", "exposed", "means")


@pytest.fixture
def shown(visit):
    """`shown(model, hash)` -> the page with its pictures drawn."""

    def open_page(model: str, place: str = "", **settings):
        page = visit(f"models/{slug(SUITE, model)}.html#{place}", **settings)
        page.locator("[data-picture=means] img").first.wait_for()
        return page

    return open_page


def part(page, kind: str):
    return page.locator(f"[data-picture={kind}]")


def choose(page, **choices: str) -> None:
    for name, value in choices.items():
        page.locator(f"[data-choice={name}]").select_option(value)
    page.locator("#pictures output:empty").wait_for(state="attached")


def test_a_page_holds_no_image_and_its_scripts_each_image_once(site):
    page = (site / "models" / f"{slug(SUITE, 'small_resnet')}.html").read_text()
    assert "data:image" not in page
    scripts = sorted(path.name for path in (site / "pictures").iterdir())
    # small_resnet was attacked twice, the two others three times; each (attack, replica) once for all models
    assert len(scripts) == 8 + 3
    for path in (site / "pictures").iterdir():
        uris = re.findall(r"data:image/png;base64,[^\"]+", path.read_text())
        assert uris and len(uris) == len(set(uris))


def test_night_and_day_has_a_row_a_model_and_a_column_a_sample(shown):
    page = shown("small_resnet")
    rows = part(page, "night").locator("tbody tr")
    assert rows.locator("th .name").all_inner_texts() == list(MODELS)
    assert rows.nth(2).locator("img").count() == 2
    assert "has no reconstruction" in rows.nth(0).inner_text()
    assert part(page, "night").locator("th[aria-current] .name").inner_text() == "small_resnet"
    assert "sample 1" in part(page, "night").locator("thead").inner_text()
    choose(page, **{"class": "all"})
    assert rows.nth(2).locator("img").count() == len(CLASSES)
    rows.nth(3).get_by_role("link").click()
    page.wait_for_url(f"**/{slug(SUITE, 'small_resnet_pgd_at')}.html#*class=all*")


def test_selectors_change_what_is_shown_and_the_link_keeps_it(shown):
    page = shown("small_resnet_pgd_at")
    assert page.locator("[data-choice=attack] option").all_inner_texts() == ["gradient", "multiscale"]
    assert page.locator("[data-choice=replica] option").all_inner_texts() == ["0", "1"]
    assert "target" in page.locator("[data-choice=space] option").first.inner_text()
    before = {kind: part(page, kind).inner_html() for kind in KINDS}
    choose(page, **{"class": "3"})
    assert part(page, "samples").locator("h4 bdi").all_text_contents() == ["Dress"]
    assert part(page, "exposed").inner_html() == before["exposed"], "of all classes"
    choose(page, space="evaluator", replica="1")
    assert part(page, "nearest").inner_html() != before["nearest"]
    again = shown("small_resnet_pgd_at", page.url.partition("#")[2])
    for kind in KINDS:
        assert part(again, kind).inner_html() == part(page, kind).inner_html()
    choose(page, attack="multiscale")
    assert page.locator("[data-choice=replica] option").all_inner_texts() == ["0"]
    assert part(page, "night").locator("tbody tr").nth(2).locator("img").count() == 0, "small_resnet has no such attack"
    foolish = shown("small_resnet_pgd_at", "attack=constructor&replica=-1&class=__proto__&space=<b>")
    assert part(foolish, "nearest").inner_html() == before["nearest"]


def test_neighbors_stand_in_order_with_their_cosines(shown):
    page = shown("small_resnet_pgd_at", "class=4&space=evaluator")
    rows = part(page, "nearest").locator("li.near")
    assert rows.count() == 2
    figures = rows.first.locator("figure")
    assert figures.count() == 1 + 5 + 1
    cosines = [text.split()[0] for text in figures.locator("figcaption > span:first-child").all_text_contents()[1:]]
    assert cosines == ["0.890", "0.880", "0.870", "0.860", "0.850", "0.850"]
    assert rows.first.locator(".closer").text_content() == "0.890", "the member is closer"
    assert rows.first.locator(".other-class").count() == 1 and "≠ Sandal" in figures.nth(2).text_content()
    choose(page, **{"class": "3"})
    assert part(page, "nearest").locator("li.near").first.locator(".control .closer").text_content() == "0.895"
    assert "0 of 2 shown" in part(page, "nearest").locator("p").inner_text()


def test_exposed_images_and_their_expectation(shown):
    page = shown("small_resnet_pgd_at")
    lists = part(page, "exposed").locator("section")
    assert lists.count() == 2
    assert lists.first.locator("b").all_text_contents() == ["9 ×", "8 ×", "7 ×"]
    assert "80 reconstructions over 4,000 images: 0.020 hits each" in lists.first.text_content()


def test_class_means_stand_above_the_reconstructions(shown):
    page = shown("small_resnet")
    rows = part(page, "means").locator("tbody tr")
    assert rows.count() == 1 + len(MODELS) and rows.first.locator("img").count() == len(CLASSES)
    assert "mean r = 0.450" in rows.nth(3).locator("th").inner_text()
    assert rows.nth(3).locator("figcaption").all_inner_texts() == [f"{0.1 * i:.3f}" for i in range(10)]


def test_an_image_that_is_no_png_is_named_as_missing(shown):
    page = shown("small_resnet", "class=0")
    assert part(page, "nearest").locator(".no-image").count() == 4, "first and last of two rows"


def test_a_model_without_reconstructions_says_so(visit):
    page = visit(f"models/{slug(SUITE, FAILED)}.html")
    assert page.locator("#pictures").count() == 0 and "No reconstruction" in page.inner_text("main")


@pytest.mark.parametrize("model", ["small_resnet_pgd_at", HOSTILE])
@pytest.mark.parametrize("choice", ["class=0", "class=all"])
def test_pictures_fit_a_phone(shown, model, choice):
    page = shown(model, choice, width=375)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_every_image_has_a_text_and_every_selector_a_label(shown):
    page = shown("small_resnet")
    assert all(page.locator("#pictures img").evaluate_all("all => all.map(i => i.alt)"))
    assert page.locator("#pictures label select").count() == page.locator("#pictures select").count() == 4


def test_index_has_the_strip_of_every_model(visit):
    page = visit("index.html")
    strip = page.locator("section.suite:visible table.sheet")
    assert strip.locator("tbody th .name").all_inner_texts() == list(MODELS)
    assert strip.locator("img").count() == 3 * len(CLASSES)
    assert strip.locator("img").first.evaluate("i => i.decode().then(() => i.naturalWidth)") == 28


def test_a_lost_script_is_told_in_a_sentence(browser, empty_site):
    build(empty_site)
    for path in (empty_site / "pictures").iterdir():
        path.unlink()
    page = browser.new_page()
    page.goto((empty_site / "models" / f"{slug(SUITE, 'small_resnet')}.html").as_uri())
    told = page.locator("#pictures output", has_text="could not be loaded")
    told.wait_for()
    assert "bench leaderboard" in told.inner_text()
    page.close()
