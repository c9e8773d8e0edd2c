"""`bench`: the command. The only module that prints. Heavy imports wait until a command needs them."""

import contextlib
import os
import sys
import tempfile
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

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
_WIDTH = 132


def _console() -> "Console":
    """The terminal; where there is none, lines wide enough for the tables."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def _fail(message: str) -> NoReturn:
    click.echo(f"bench: error: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)


class _Commands(click.Group):
    """What the user must mend, in the call or in a file, ends in one line and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.UsageError as error:
            _fail(error.format_message())
        except click.Abort:
            click.echo("bench: interrupted", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `bench list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(SOME_FAILED)
        except (ValueError, OSError) as error:
            _fail(str(error))
        sys.exit(code if isinstance(code, int) else DONE)


def _folder(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if "://" in value:
        raise click.UsageError(f"--{parameter.name}: {value!r} is a URL; allowed: a folder of this machine or on NFS")
    return value


def _given_folder(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return value and _folder(context, parameter, value)


results_option = click.option(
    "--results", default="results", show_default=True, callback=_folder, help="Folder of the results."
)
site_option = click.option("--site", default="site", show_default=True, callback=_folder, help="Folder of the page.")
data_option = click.option("--data-root", envvar="BENCH_DATA", help="Folder of the data sets.  [env: BENCH_DATA]")
include_option = click.option("--include", multiple=True, metavar="FILE.py", help="Run this file: methods of your own.")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
def run(suite: str, **options: Any) -> None:
    """Run what is missing of SUITE, then build its page."""
    from benchmark.live import Follower, closing
    from benchmark.prepare import check_address, check_device, prepare
    from benchmark.run import run as run_plan
    from benchmark.store import Store
    from benchmark.trial import Settings

    console = _console()
    prepared = prepare(suite, options["data_root"], options["include"])
    if options["address"] is None:  # a cluster's nodes have devices of their own
        check_device(options["device"])
    else:
        check_address(options["address"])
    plan = prepared.plan.only(options["only"]) if options["only"] else prepared.plan
    settings = Settings(
        results=options["results"],
        data_root=options["data_root"],
        device=options["device"],
        threads=prepared.suite.threads,
        include=options["include"],
        files=prepared.files,
    )
    store = Store(options["results"])
    store.writable()
    _make_site(Path(options["site"]))
    store.write_plan(prepared.plan, prepared.about)
    with Follower(console, plan) as follower:
        report = run_plan(plan, store, _factory(options), settings, rerun=options["rerun"], on_event=follower)
    whole = _show(console, store, Path(options["site"]), [prepared.suite.name])
    console.print(closing(report), highlight=False)
    sys.exit(_exit_code(report, whole))


def _factory(options: dict[str, Any]) -> "ExecutorFactory":
    def start(settings: "Settings") -> Any:
        slots = options["slots"] or 0
        if options["executor"] == "local":
            from benchmark.executors.local import LocalExecutor

            return LocalExecutor(settings, slots)
        from benchmark.executors.ray import RayExecutor

        try:
            return RayExecutor(settings, slots, options["address"], options["gpus_per_trial"])
        except ImportError as error:
            advice = "allowed: --executor local, or pip install 'ray[tune]'"
            raise ValueError(f"Ray cannot be imported ({error}); {advice}") from error

    return start


def _exit_code(report: "Report", whole: bool) -> int:
    if report.interrupted:
        return INTERRUPTED
    return DONE if whole and not report.num_failed and not report.num_skipped else SOME_FAILED


def _make_site(site: Path) -> None:
    """Find out before the hours of a run that the page could not be written."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=site):
            pass
    except OSError as error:
        raise ValueError(
            f"site: {str(site)!r} cannot be written ({error.strerror}); allowed: a folder that you may write to"
        ) from error


def _show(console: "Console", store: "Store", site: Path, suites: list[str], images: bool = True) -> bool:
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
            text = f"problem {error}; set aside in {place.relative_to(store.root)}, `bench run` computes it again"
            console.print(text, markup=False, highlight=False, soft_wrap=True)
    page = build(site, images=images)
    passed = [("stage", "==", "control"), ("metric", "==", "passed")]
    verdicts = pq.read_table(site / "results.parquet", filters=passed).to_pylist()
    for suite in suites:
        console.print(ranking([row for row in board.to_pylist() if row["suite"] == suite], console.width))
        console.print(controls([row for row in verdicts if row["suite"] == suite]), highlight=False)
    console.print(f"page: {page.resolve().as_uri()}", soft_wrap=True, highlight=False)
    return whole


@main.command()
@click.argument("suite")
@results_option
@data_option
@include_option
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
@click.option("--no-images", is_flag=True, help="Leave the pictures out.")
@click.option("--serve", is_flag=True, help="Show the page at http://127.0.0.1:PORT until Ctrl-C.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
def leaderboard(results: str, site: str, no_images: bool, serve: bool, port: int) -> None:
    """Build the page from the results, also in the middle of a run."""
    store = _existing(results)
    _make_site(Path(site))
    whole = _show(_console(), store, Path(site), [plan["suite"] for plan in store.plans()], images=not no_images)
    if serve:
        from leaderboard.serve import server

        with server(Path(site), port) as running, contextlib.suppress(KeyboardInterrupt):
            click.echo(f"serving http://127.0.0.1:{running.server_address[1]}/ until Ctrl-C")
            running.serve_forever()
    sys.exit(DONE if whole else SOME_FAILED)


@main.command()
@click.option("--results", callback=_given_folder, help="Make the page's tables anew from this folder of results.")
@site_option
@click.option("--out", default="figures", show_default=True, callback=_folder, help="Folder for the files.")
@click.option("--suite", multiple=True, help="Only this suite.")
@click.option("--model", multiple=True, help="Only this model.")
@click.option("--attack", multiple=True, help="Only this inversion attack.")
@click.option("--replica", type=click.IntRange(0), help="This replica; default: the first of each model.")
@click.option("--format", "kind", type=click.Choice(["png"]), default="png", show_default=True)
@click.option("--scale", type=click.IntRange(1, 64), help="Dots a pixel; default: pictures of 9.5 mm at 300 dpi.")
def figures(results: str | None, site: str, out: str, scale: int | None, **choice: Any) -> None:
    """Write the pictures of the page as contact sheets for a paper."""
    from leaderboard.export import Choice, export

    if results is not None:
        from benchmark.summary import summarise

        store = _existing(results)
        _make_site(Path(site))
        summarise(store, Path(site))
    wanted = Choice(choice["suite"], choice["model"], choice["attack"], choice["replica"])
    number = 0
    for path in export(Path(site), Path(out), wanted, scale):
        number += 1
        click.echo(path)
    click.echo(f"{number} figures in {Path(out).resolve()}")


@main.command(name="list")
@include_option
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
def doctor(results: str, data_root: str | None) -> None:
    """Show what will be used here, and why: device, FAISS, Ray, disk, threads, data sets."""
    from benchmark.doctor import findings

    for name, finding in findings(results, data_root):
        _console().print(f"{name:18} {finding}", highlight=False, markup=False, soft_wrap=True)
