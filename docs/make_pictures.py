"""README's pictures and table from a built page: `python docs/make_pictures.py SITE SUITE`. Needs the dev extras."""

import io
import shutil
import sys
from pathlib import Path

import pandas as pd
from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent
_CELL, _GAP, _LABEL = 56, 4, 190
_COLUMNS = {
    "clean_accuracy": "clean accuracy",
    "robust_accuracy": "robust accuracy",
    "evaluator_accuracy": "recognised (smaller of two evaluators)",
    "in_rate": "in_rate (null 0.5)",
    "membership_auc": "membership AUC (null 0.5)",
}


def night_and_day(gallery: pd.DataFrame, models: list[str]) -> Image.Image:
    """Sample 0 of every class (columns) for every model (rows), as the attack left them."""
    first = gallery[(gallery["sample"] == 0) & (gallery["replica"] == 0) & (gallery["space"] == "evaluator")]
    classes = sorted(first["class_id"].unique())
    step = _CELL + _GAP
    sheet = Image.new("RGB", (_LABEL + step * len(classes), step * len(models)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, model in enumerate(models):
        draw.text((6, row * step + _CELL / 2 - 6), model, fill="black")
        for column, class_id in enumerate(classes):
            cell = first[(first["model"] == model) & (first["class_id"] == class_id)]
            picture = Image.open(io.BytesIO(cell["image_png"].iloc[0])).resize((_CELL, _CELL), Image.Resampling.NEAREST)
            sheet.paste(picture, (_LABEL + column * step, row * step))
    return sheet


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
    tables = [pd.read_parquet(site / f"{name}.parquet") for name in ("leaderboard", "gallery")]
    board, gallery = (found[found["suite"] == suite] for found in tables)
    night_and_day(gallery, list(board["model"])).save(DOCS / "night-and-day.png", optimize=True)
    photograph(site, DOCS / "page.png")
    print(table(board))


if __name__ == "__main__":
    main()
