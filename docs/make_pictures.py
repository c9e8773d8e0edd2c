"""README's pictures and tables from a built page: `python docs/make_pictures.py SITE SUITE`. Needs the dev extras.

Pictures are of the suite `quick` alone, the others give a table; with several numbers of members, the table of leakage.
"""

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


def leakage(board: pd.DataFrame) -> str:
    """Who was in the training data, in Markdown: fewest members first, most robust first among them."""
    names = (
        "members",
        "clean accuracy",
        "robust accuracy",
        "recognised",
        "in_rate (null 0.5)",
        "its p",
        "membership AUC",
    )
    names += ("TPR at 1% FPR", "epsilon, shown", "epsilon, proven")
    lines = ["| model | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for _, row in board.sort_values(["num_members", "robust_accuracy"], ascending=[True, False]).iterrows():
        shares = [f"{row[c]:.2f}" for c in ("clean_accuracy", "robust_accuracy")]
        shares += [_ranged(row, c) for c in ("evaluator_accuracy", "in_rate")]
        shares += [f"{row['in_rate_p_value']:.3f}", _ranged(row, "membership_auc"), _ranged(row, "tpr_at_1pct_fpr", 3)]
        shares += [f"{row[c]:.1f}" if pd.notna(row[c]) else "" for c in ("empirical_epsilon", "proven_epsilon")]
        lines.append(f"| {row['model']} | {row['num_members']:.0f} | " + " | ".join(shares) + " |")
    return "\n".join(lines)


def _ranged(row: pd.Series, column: str, digits: int = 2) -> str:
    """A number with its interval; empty where it was not measured."""
    if pd.isna(row[column]):
        return ""
    low, high = (f"{row[f'{column}_{end}']:.{digits}f}" for end in ("low", "high"))
    return f"{row[column]:.{digits}f} [{low}, {high}]"


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
    board = board[board["suite"] == suite]
    print(table(board) if board["num_members"].nunique() == 1 else leakage(board))
    if suite != "quick":
        return
    pictured = next(found for found in load(site) if found.name == suite)
    first = pictured.views[0]
    rows = across(pictured.views, pictured.models, first.method, first.replica)
    contact_sheets.save(contact_sheets.draw(contact_sheets.night_and_day(rows), scale=2), DOCS / "night-and-day.png")
    photograph(site, DOCS / "page.png")


if __name__ == "__main__":
    main()
