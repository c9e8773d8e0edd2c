"""README's pictures and table from a built page: `python docs/make_pictures.py SITE SUITE`. Needs the dev extras."""

import shutil
import sys
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright

from leaderboard import contact_sheets
from leaderboard.paper_figures import load
from leaderboard.picture_views import across

DOCS = Path(__file__).parent
_COLUMNS = {
    "clean_accuracy": "clean accuracy",
    "robust_accuracy": "robust accuracy",
    "evaluator_accuracy": "recognised (smaller of two evaluators)",
    "in_rate": "in_rate (null 0.5)",
    "membership_auc": "membership AUC (null 0.5)",
}


def table(board: pd.DataFrame) -> str:
    """The ranking in Markdown, most robust first."""
    lines = ["| model | " + " | ".join(_COLUMNS.values()) + " |", "|---|" + "---|" * len(_COLUMNS)]
    for _, row in board.sort_values("robust_accuracy", ascending=False).iterrows():
        cells = [f"{row[c]:.3f} [{row[f'{c}_low']:.2f}, {row[f'{c}_high']:.2f}]" for c in _COLUMNS]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def photograph(site: Path, picture: Path) -> None:
    """A screenshot of the top of the page."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1180, "height": 1180})
        page.goto((site / "index.html").resolve().as_uri())
        page.wait_for_selector(".main-svg")
        page.screenshot(path=picture)
        browser.close()


def main() -> None:
    site, suite = Path(sys.argv[1]), sys.argv[2]
    board = pd.read_parquet(site / "leaderboard.parquet")
    pictured = next(found for found in load(site) if found.name == suite)
    first = pictured.views[0]
    rows = across(pictured.views, pictured.models, first.method, first.replica)
    contact_sheets.save(contact_sheets.draw(contact_sheets.night_and_day(rows), scale=2), DOCS / "night-and-day.png")
    photograph(site, DOCS / "page.png")
    print(table(board[board["suite"] == suite]))


if __name__ == "__main__":
    main()
