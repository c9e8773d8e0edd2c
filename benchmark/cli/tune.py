"""`bench tune`: search the settings of an attack and freeze them in a suite."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.common import (
    DONE,
    MOST_SLOTS,
    SOME_FAILED,
    data_option,
    include_option,
    results_option,
    terminal,
)
from benchmark.machine.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.planning.plan import Plan
    from benchmark.results.store import Store
    from benchmark.running.executors import Executor
    from benchmark.trials.trial import Settings
    from benchmark.tuning.search import Candidate
    from benchmark.tuning.session import Session


@click.command()
@click.argument("suite")
@click.option("--out", required=True, metavar="FILE.yaml", help="The suite to write, with the settings found.")
@click.option("--attack", metavar="LABEL", help="Attack of the suite; default: the first inversion.")
@click.option(
    "--budget", type=click.IntRange(2, 10_000), default=16, show_default=True, help="Whole evaluations a model."
)
@click.option("--seed", type=click.IntRange(0, 2**62), help="Of models and settings; default: the suite's and 1.")
@results_option
@data_option
@include_option
@click.option("--address", help="Ray cluster to join; default: start Ray on this machine.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:I.")
@click.option(
    "--slots", type=click.IntRange(1, MOST_SLOTS), help="Trials side by side; default: one a core, as GPUs allow."
)
@click.option("--gpus-per-trial", type=float, help="GPUs, or share of one, for each trial; before the suite's.")
def tune(suite: str, **options: Any) -> None:
    """Search an attack's settings for every model of SUITE with an equal budget; write a suite with them.

    Nothing that SUITE reports is attacked: the models are trained anew, with another seed and other members. The same
    command goes on where it was stopped.
    """
    from benchmark.planning.check import check_address, check_device, prepare
    from benchmark.planning.gpu_shares import check_gpus, gpu_shares
    from benchmark.results.store import Store
    from benchmark.running.send_data import send
    from benchmark.trials.trial import Settings
    from benchmark.tuning.freeze import check_place
    from benchmark.tuning.session import Session, choose
    from benchmark.user_files.include import source

    check_gpus(options["gpus_per_trial"], options["device"])
    prepared = prepare(suite, options["data_root"], options["include"])
    gpus = gpu_shares(prepared.suite.resources, options["gpus_per_trial"])
    check_place(Path(options["out"]), Path(suite), prepared.suite)
    if options["address"] is None:
        check_device(options["device"])
    else:
        check_address(options["address"])
    seed = prepared.suite.seed + 1 if options["seed"] is None else options["seed"]
    label = choose(prepared.suite, options["attack"])
    session = Session(prepared.suite, prepared.plan, label, options["budget"], seed)
    store = Store(options["results"])
    store.writable()
    settings = Settings(
        results=str(store.root),
        data_root=options["data_root"],
        device=options["device"],
        threads=prepared.suite.threads,
        include=tuple(source(path) for path in options["include"]),
        files=prepared.files,
        decoded=send(
            store, *prepared.data(options["data_root"]), prepared.files, joined=options["address"] is not None
        ),
        gpus=gpus,
    )
    try:
        done = _search(terminal(), session, store, settings, options)
    except KeyboardInterrupt:
        terminal().print("interrupted, run again to go on: what was evaluated is kept", highlight=False)
        sys.exit(INTERRUPTED)
    if not done:
        sys.exit(SOME_FAILED)
    _finish(terminal(), session, store, Path(suite), Path(options["out"]))
    sys.exit(DONE)


def _search(
    console: "Console", session: "Session", store: "Store", settings: "Settings", options: dict[str, Any]
) -> bool:
    """Train the targets, spend the budgets, confirm. Returns whether everything was done that the table needs."""
    from benchmark.running.executors import factory

    with factory("ray", options["slots"] or 0, options["address"])(settings) as executor:
        if not _run(console, session.ground.plan, store, executor, settings):
            return False
        from benchmark.tuning.ray_tune import spend

        def report(candidate: "Candidate", rung: int) -> None:
            console.print(_line(session, candidate, rung), highlight=False, markup=False, soft_wrap=True)

        spend(session.search, session.work, settings, report)
        return _run(console, session.confirmations(), store, executor, settings)


def _run(console: "Console", plan: "Plan", store: "Store", executor: "Executor", settings: "Settings") -> bool:
    """Compute what is missing of a plan. Raises KeyboardInterrupt, as it was."""
    from benchmark.live import Follower
    from benchmark.live.run_state import Tracker
    from benchmark.running.run import run

    def start(_: "Settings") -> Any:  # it runs already, and stays for what comes next
        return contextlib.nullcontext(executor)

    with Follower(console, Tracker(plan)) as follower:
        report = run(plan, store, start, settings, on_event=follower)
    if report.interrupted:
        raise KeyboardInterrupt
    return not report.num_failed and not report.num_skipped


def _line(session: "Session", candidate: "Candidate", rung: int) -> str:
    """`small-vgg #3  evaluator_accuracy 0.425 on 8 samples a class, 40/160  step_size 2.3, ...`."""
    search = session.search
    merit = f"failed: {candidate.error}" if candidate.error else f"{session.objective} {candidate.merits[rung]:.3f}"
    what = ", ".join(f"{name} {value}" for name, value in candidate.settings.items()) or "the suite's settings"
    spent = f"{search.spent[candidate.model]}/{search.budget}"
    return f"{candidate.model} #{candidate.index}  {merit} on {search.sizes[rung]} {session.unit}, {spent}  {what}"


def _finish(console: "Console", session: "Session", store: "Store", source: Path, out: Path) -> None:
    """Write the suite; say what came out."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    from benchmark.tuning.freeze import freeze, interval

    results = session.results(store)
    written = freeze(out, source, session, results)
    title = f"{session.label}: {session.objective} on models that no suite reports; 95% intervals"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("model", "untuned", "tuned", "evaluations", "settings"):
        table.add_column(name, overflow="fold")
    for result in results:
        counts = " + ".join(f"{count} x {size}" for size, count in result.evaluations.items())
        counts += f", {result.num_failed} failed" if result.num_failed else ""
        what = ", ".join(f"{name} {value}" for name, value in result.settings.items()) or "the suite's"
        cells = (result.model, interval(result.untuned), interval(result.tuned), counts, what)
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    budget = f"each model had {session.search.budget} {session.unit}, {session.passes(results)} passes at the most"
    console.print(f"{budget}, and {2 * session.sizes[-1]} more to confirm", highlight=False)
    console.print(f"suite {written.name}: {out}", markup=False, highlight=False, soft_wrap=True)
