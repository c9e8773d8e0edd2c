"""`bench`: the command. The only module that prints. Heavy imports wait until a command needs them."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.executors import ExecutorFactory
    from benchmark.plan import Plan
    from benchmark.run import Report
    from benchmark.store import Store
    from benchmark.trial import Settings

DONE, SOME_FAILED, WRONG_INPUT = 0, 1, 2
_WIDTH = 132


def _console() -> "Console":
    """The terminal; where there is none, lines wide enough for the tables."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _fail(message: str) -> NoReturn:
    click.echo(f"bench: error: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)


def user_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """What the user must mend ends in one line and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            _fail(str(error))

    return wrapped


results_option = click.option("--results", default="results", show_default=True, help="Folder of the results.")
site_option = click.option("--site", default="site", show_default=True, help="Folder of the page.")
data_option = click.option("--data-root", envvar="BENCH_DATA", help="Folder of the data sets.  [env: BENCH_DATA]")
include_option = click.option("--include", multiple=True, metavar="FILE.py", help="Run this file: methods of your own.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="robust-or-private")
def main() -> None:
    """Robust or private? Measure what adversarial robustness costs in training-data privacy."""


@main.command()
@click.argument("suite")
@results_option
@site_option
@data_option
@include_option
@click.option("--executor", type=click.Choice(["ray", "local"]), default="ray", show_default=True)
@click.option("--address", help="Ray cluster to join; default: start Ray on this machine.")
@click.option("--rerun", type=click.Choice(["missing", "failed", "all"]), default="missing", show_default=True)
@click.option("--only", multiple=True, metavar="MODEL", help="Only this model of the suite, and what it needs.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:I.")
@click.option("--slots", type=click.IntRange(1), help="Trials side by side; default: one a core or GPU.")
@click.option("--gpus-per-trial", type=click.FloatRange(0, 64), help="Share of a GPU a trial holds (Ray).")
@user_errors
def run(suite: str, **options: Any) -> None:
    """Run what is missing of SUITE, then build its page."""
    from benchmark.live import Follower, closing
    from benchmark.prepare import prepare
    from benchmark.run import run as run_plan
    from benchmark.store import Store
    from benchmark.trial import Settings

    console = _console()
    prepared = prepare(suite, options["data_root"], options["include"])
    plan = prepared.plan.only(options["only"]) if options["only"] else prepared.plan
    settings = Settings(
        results=options["results"],
        data_root=options["data_root"],
        device=options["device"],
        threads=prepared.suite.threads,
        include=options["include"],
    )
    store = Store(options["results"])
    store.writable()
    store.write_plan(prepared.plan, prepared.about)
    with Follower(console, plan) as follower:
        report = run_plan(plan, store, _factory(options), settings, rerun=options["rerun"], on_event=follower)
    _show(console, store, Path(options["site"]), prepared.suite.name)
    console.print(closing(report), highlight=False)
    sys.exit(_exit_code(report))


def _factory(options: dict[str, Any]) -> "ExecutorFactory":
    def start(settings: "Settings") -> Any:
        slots = options["slots"] or 0
        if options["executor"] == "local":
            from benchmark.executors.local import LocalExecutor

            return LocalExecutor(settings, slots)
        try:
            from benchmark.executors.ray import RayExecutor
        except ImportError:
            raise ValueError("Ray is not installed; allowed: --executor local, or pip install 'ray[tune]'") from None
        return RayExecutor(settings, slots, options["address"], options["gpus_per_trial"])

    return start


def _exit_code(report: "Report") -> int:
    if report.interrupted:
        return 130
    return SOME_FAILED if report.num_failed or report.num_skipped else DONE


def _show(console: "Console", store: "Store", site: Path, suite: str, images: bool = True) -> None:
    """Build the page; print the ranking of one suite and where the page is."""
    from benchmark.live import ranking
    from benchmark.summary import summarise
    from leaderboard.build import build

    board = summarise(store, site, images)
    page = build(site, images=images)
    rows = [row for row in board.to_pylist() if row["suite"] == suite]
    if rows:
        console.print(ranking(rows))
    console.print(f"page: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)


@main.command()
@click.argument("suite")
@results_option
@data_option
@include_option
@user_errors
def plan(suite: str, results: str, data_root: str | None, include: tuple[str, ...]) -> None:
    """Show the trials of SUITE, what is there already and what the rest will cost. Runs nothing."""
    from benchmark.live import planned
    from benchmark.prepare import prepare
    from benchmark.store import Store

    prepared, store = prepare(suite, data_root, include), Store(results)
    _console().print(*planned(prepared.plan, _walls(prepared.plan, store)), sep="\n", highlight=False)


def _walls(plan: "Plan", store: "Store") -> dict[str, float]:
    """Key -> seconds of the trials that are done."""
    keys = {node.key for node in plan.nodes}
    return {key: float(store.provenance(key)["wall_s"]) for key in keys if store.has(key)}


@main.command()
@results_option
@user_errors
def status(results: str) -> None:
    """Show what is done, running, missing and failed, and why."""
    from benchmark.heartbeat import running
    from benchmark.live import standing
    from benchmark.results import SuiteResults

    store, console = _existing(results), _console()
    for manifest in store.plans():
        console.print(*standing(SuiteResults(store, manifest)), sep="\n", highlight=False)
    for name in running(store.root):
        console.print(f"  running {name}", markup=False, highlight=False)


def _existing(results: str) -> "Store":
    from benchmark.store import Store

    store = Store(results)
    if not store.plans():
        raise ValueError(f"--results: no suite was run in {results!r}; allowed: the results folder of a `bench run`")
    return store


@main.command()
@results_option
@site_option
@click.option("--no-images", is_flag=True, help="Leave the galleries out.")
@click.option("--serve", is_flag=True, help="Show the page at http://127.0.0.1:PORT until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@user_errors
def leaderboard(results: str, site: str, no_images: bool, serve: bool, port: int) -> None:
    """Build the page from the results, also in the middle of a run."""
    store = _existing(results)
    for manifest in store.plans():
        _show(_console(), store, Path(site), manifest["suite"], images=not no_images)
    if serve:
        from leaderboard.serve import serve as serve_site

        serve_site(Path(site), port)


@main.command(name="list")
@include_option
@user_errors
def list_methods(include: tuple[str, ...]) -> None:
    """List every registered method with its source."""
    from benchmark import registry
    from benchmark.live import methods

    for file in include:
        registry.include(file)
    _console().print(methods())


@main.command()
@results_option
@data_option
@user_errors
def doctor(results: str, data_root: str | None) -> None:
    """Show what will be used here, and why: device, FAISS, Ray, disk, threads, data sets."""
    from benchmark.doctor import findings

    for name, finding in findings(results, data_root):
        _console().print(f"{name:18} {finding}", highlight=False, markup=False, soft_wrap=True)
