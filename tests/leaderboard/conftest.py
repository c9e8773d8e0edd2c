import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import site_fixture
from playwright.sync_api import sync_playwright

from leaderboard.build import build

CHROMIUM = "/usr/bin/chromium" if Path("/usr/bin/chromium").is_file() else shutil.which("chromium")
ARGUMENTS = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    " --disable-sync --no-first-run --disable-quic"
).split()


@pytest.fixture
def empty_site(tmp_path: Path) -> Path:
    """The Parquet files, no page yet."""
    return site_fixture.write(tmp_path / "site", samples=1)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page; tests must not write into it."""
    folder = site_fixture.write(tmp_path_factory.mktemp("page") / "a site")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("no Chromium: neither /usr/bin/chromium nor `chromium` on the PATH")
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def opened(browser, site: Path) -> Iterator[tuple[Callable, list[str]]]:
    """A function that opens a page of the site, and the list of everything that went wrong on any of them."""
    contexts, problems = {}, []

    def open_page(path: str, *, width: int = 1280, dark: bool = False):
        if (width, dark) not in contexts:
            scheme = "dark" if dark else "light"
            contexts[width, dark] = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = contexts[width, dark].new_page()
        page.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
        page.on("requestfailed", lambda r: problems.append(f"failed: {r.url}"))
        page.goto(f"{site.as_uri()}/{path}")
        return page

    yield open_page, problems
    for context in contexts.values():
        context.close()


@pytest.fixture
def visit(opened) -> Iterator[Callable]:
    """`visit("index.html", width=..., dark=...)` -> a new page. Nothing may have gone wrong by the end of the test."""
    open_page, problems = opened
    pages = []

    def visit_page(path: str, **settings):
        pages.append(open_page(path, **settings))
        return pages[-1]

    yield visit_page
    for page in pages:
        page.close()
    seen, problems[:] = list(problems), []
    assert seen == []


@pytest.fixture(scope="module")
def kept(opened):
    """One index page for the tests that do not leave it: plotly.js takes a second to load."""
    page = opened[0]("index.html")
    yield page
    page.close()


@pytest.fixture
def index(kept, visit):
    """The index in its default view, which is a function of the hash alone."""
    kept.evaluate("""() => new Promise(done => {
        location.hash = '#suite=quick';
        setTimeout(done, 20);
    })""")
    kept.mouse.move(2, 2)
    return kept
