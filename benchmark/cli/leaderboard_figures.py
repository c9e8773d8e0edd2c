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
    say,
    site_option,
    terminal,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from benchmark.results.store import CorruptArtifact, Store


def show(console: "Console", store: "Store", site: Path, suite: str | None = None, images: bool = True) -> bool:
    """Build the page; print the ranking of a suite, or of all, and where the page is.

    Returns: no trial had to be set aside.
    """
    import pyarrow.parquet as pq

    from benchmark.aggregation.page_tables import summarise
    from benchmark.live import controls, ranking
    from leaderboard.build import build

    problems: list[CorruptArtifact | str] = []
    with console.status("building the page"):
        board = summarise(store, site, images, problems.append)
    whole = tell_problems(console, store, problems)
    page = build(site, images=images)
    passed = [("stage", "==", "control"), ("metric", "==", "passed")]
    verdicts = pq.read_table(site / "results.parquet", filters=passed).to_pylist()
    lines = board.to_pylist()
    for name in [suite] if suite else dict.fromkeys(row["suite"] for row in lines):
        console.print(ranking([row for row in lines if row["suite"] == name], console.width))
        console.print(controls([row for row in verdicts if row["suite"] == name]))
    say(console, f"page: {page.resolve().as_uri()}")
    return whole


def tell_problems(console: "Console", store: "Store", problems: "Sequence[CorruptArtifact | str]") -> bool:
    """Print what the page lacks, and set those trials aside. Returns whether none had to be."""
    whole = True
    for problem in problems:
        text = f"problem {problem}"
        if not isinstance(problem, str):  # found only now: a resume does not hash what is large
            try:
                text += f"; set aside in {store.set_aside(problem.key, str(problem))}, `bench run` computes it again"
            except (OSError, ValueError) as error:
                text += f"; passed over, and not set aside ({error})"
            whole = False
        say(console, text)
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
    whole = show(terminal(), store, Path(site), images=not no_images)
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
    from leaderboard.paper_figures import Choice, export

    if results is not None:
        from benchmark.aggregation.page_tables import summarise

        store = existing_store(results)
        make_site(Path(site))
        problems: list[CorruptArtifact | str] = []
        summarise(store, Path(site), tell=problems.append)
        tell_problems(terminal(), store, problems)
    wanted = Choice(choice["suite"], choice["model"], choice["attack"], choice["replica"])
    number = 0
    for path in export(Path(site), Path(out), wanted, scale):
        number += 1
        click.echo(path)
    click.echo(f"{number} figures in {Path(out).resolve()}")
