"""`bench leaderboard` and `bench figures`: the page and its pictures."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.common import (
    DONE,
    SOME_FAILED,
    existing_store,
    folder,
    make_site,
    results_option,
    site_option,
    terminal,
)

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.store import Store


def show(console: "Console", store: "Store", site: Path, suites: list[str], images: bool = True) -> bool:
    """Build the page; print the rankings of suites and where the page is. Returns: no trial had to be set aside."""
    import pyarrow.parquet as pq

    from benchmark.live import controls, ranking
    from benchmark.store import CorruptArtifact
    from benchmark.summary import summarise
    from leaderboard.build import build

    whole, board = True, None
    while board is None:
        try:
            with console.status("building the page"):
                board = summarise(store, site, images)
        except CorruptArtifact as error:  # found only now: a resume does not hash what is large
            whole, place = False, store.set_aside(error.key, str(error))
            text = f"problem {error}; set aside in {place}, `bench run` computes it again"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    page = build(site, images=images)
    passed = [("stage", "==", "control"), ("metric", "==", "passed")]
    verdicts = pq.read_table(site / "results.parquet", filters=passed).to_pylist()
    for suite in suites:
        console.print(ranking([row for row in board.to_pylist() if row["suite"] == suite], console.width))
        console.print(controls([row for row in verdicts if row["suite"] == suite]), highlight=False)
    console.print(f"page: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)
    return whole


@click.command()
@results_option
@site_option
@click.option("--no-images", is_flag=True, help="Leave the pictures out.")
@click.option("--serve", is_flag=True, help="Show the page at http://127.0.0.1:PORT until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def leaderboard(results: str, site: str, no_images: bool, serve: bool, port: int) -> None:
    """Build the page from the results, also in the middle of a run."""
    store = existing_store(results)
    make_site(Path(site))
    whole = show(terminal(), store, Path(site), [plan["suite"] for plan in store.plans()], images=not no_images)
    if serve:
        from leaderboard.serve import server

        with server(Path(site), port) as running, contextlib.suppress(KeyboardInterrupt):
            click.echo(f"serving http://127.0.0.1:{running.server_address[1]}/ until Ctrl-C")
            running.serve_forever()
    sys.exit(DONE if whole else SOME_FAILED)


@click.command()
@click.option("--results", help="Make the page's tables anew from this folder or URL of results.")
@site_option
@click.option("--out", default="figures", show_default=True, callback=folder, help="Folder for the files.")
@click.option("--suite", multiple=True, help="Only this suite.")
@click.option("--model", multiple=True, help="Only this model.")
@click.option("--attack", multiple=True, help="Only this inversion attack.")
@click.option("--replica", type=click.IntRange(0, 1023), help="This replica; default: the first of each model.")
@click.option("--format", "kind", type=click.Choice(["png"]), default="png", show_default=True)
@click.option("--scale", type=click.IntRange(1, 64), help="Dots a pixel; default: pictures of 9.5 mm at 300 dpi.")
def figures(results: str | None, site: str, out: str, scale: int | None, **choice: Any) -> None:
    """Write the pictures of the page as contact sheets for a paper."""
    from leaderboard.export import Choice, export

    if results is not None:
        from benchmark.summary import summarise

        store = existing_store(results)
        make_site(Path(site))
        summarise(store, Path(site))
    wanted = Choice(choice["suite"], choice["model"], choice["attack"], choice["replica"])
    number = 0
    for path in export(Path(site), Path(out), wanted, scale):
        number += 1
        click.echo(path)
    click.echo(f"{number} figures in {Path(out).resolve()}")
