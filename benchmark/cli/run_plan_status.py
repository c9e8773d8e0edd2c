"""`bench run`, `bench plan` and `bench status`."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from benchmark.cli.common import (
    DONE,
    MOST_SLOTS,
    SOME_FAILED,
    data_option,
    existing_store,
    include_option,
    make_site,
    results_option,
    say,
    site_option,
    terminal,
)
from benchmark.cli.compact import gather_if_many
from benchmark.cli.leaderboard_figures import show
from benchmark.cli.on_cluster import cluster_option, run_on_cluster, status_on_cluster
from benchmark.machine.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from benchmark.planning.plan import Node
    from benchmark.results.store import Store
    from benchmark.running.schedule import Report

_LOOKED_AT = 40
"""Trials of each kind whose time is looked up before a run begins."""
_SHOWN = 100
"""Running trials that `bench status` names."""


@click.command()
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
@click.option(
    "--slots", type=click.IntRange(1, MOST_SLOTS), help="Trials side by side; default: one a core, as GPUs allow."
)
@click.option(
    "--gpus-per-trial", type=float, help="GPUs, or share of one, for each trial that uses one; before the suite's."
)
@cluster_option
@click.pass_context
def run(context: click.Context, /, suite: str, cluster: str | None, **options: Any) -> None:
    """Run what is missing of SUITE, then build its page."""
    if cluster is not None:
        run_on_cluster(suite, cluster, {**options, **_for_a_cluster(context)})
    from benchmark.live import Follower, closing
    from benchmark.live.run_state import Tracker
    from benchmark.planning.check import check_address, check_device, prepare
    from benchmark.planning.gpu_shares import check_gpus
    from benchmark.results.compaction import MANY
    from benchmark.results.store import Store
    from benchmark.running.begin import begin
    from benchmark.running.executors import factory
    from benchmark.running.run import run as run_plan
    from benchmark.trials.provenance import host

    console = terminal()
    check_gpus(options["gpus_per_trial"], options["device"])
    prepared = prepare(suite, options["data_root"], options["include"])
    if options["address"] is None:  # a cluster's nodes have devices of their own
        check_device(options["device"])
    else:
        check_address(options["address"])
    plan = prepared.plan.only(options["only"]) if options["only"] else prepared.plan
    store = Store(options["results"])
    store.writable()
    make_site(Path(options["site"]))
    settings = begin(
        prepared,
        store,
        options["results"],
        joined=options["address"] is not None,
        **{name: options[name] for name in ("data_root", "device", "include", "gpus_per_trial")},
    )
    console.print(f"data: {prepared.about['data']}", highlight=False, markup=False)
    here = host() if options["address"] is None else ""
    tracker = Tracker(plan, prepared.suite.prices, _sample(plan.nodes, store), here)
    with Follower(console, tracker) as follower:
        start = factory(options["executor"], options["slots"] or 0, options["address"])
        report = run_plan(plan, store, start, settings, rerun=options["rerun"], on_event=follower)
    if report.num_total > MANY:
        gather_if_many(console, store)
    whole = show(console, store, Path(options["site"]), prepared.suite.name)
    say(console, closing(report, tracker.bill))
    sys.exit(_exit_code(report, whole))


def _for_a_cluster(context: click.Context) -> dict[str, Any]:
    """Options whose default or environment is meant for this machine, as the user wrote them, else None."""
    given = click.core.ParameterSource.COMMANDLINE
    for name, value in (("executor", "ray"), ("address", None)):
        if context.params[name] != value:
            raise ValueError(f"--{name}: {context.params[name]!r} with --cluster; allowed: no --{name}, Ray is there")
    return {
        name: context.params[name] if context.get_parameter_source(name) is given else None
        for name in ("results", "data_root")
    }


def _exit_code(report: "Report", whole: bool) -> int:
    if report.interrupted:
        return INTERRUPTED
    return DONE if whole and not report.num_failed and not report.num_skipped else SOME_FAILED


@click.command()
@click.argument("suite")
@results_option
@data_option
@include_option
def plan(suite: str, results: str, data_root: str | None, include: tuple[str, ...]) -> None:
    """Show the trials of SUITE, what is there already and what the rest will cost. Runs nothing."""
    from benchmark.live import older_lines, planned
    from benchmark.planning.check import prepare
    from benchmark.results.older_versions import older
    from benchmark.results.store import Store
    from benchmark.running.executors.local import num_slots
    from benchmark.trials.trial import Settings

    prepared, store = prepare(suite, data_root, include), Store(results)
    slots = num_slots(Settings(results, threads=prepared.suite.threads))
    done, problems = store.scan()
    for problem in problems:
        say(terminal(), f"problem {problem.name}: {problem.reason}")
    made = dict(_sample((node for node in prepared.plan.nodes if node.key in done), store))
    before = older(prepared.plan, store.last_plan(prepared.suite.name), done.__contains__)
    lines = [*planned(prepared.plan, done, made, slots, prepared.suite.prices), *older_lines(before)]
    terminal().print(f"data: {prepared.about['data']}", *lines, sep="\n", highlight=False, markup=False)


def _sample(nodes: "Iterable[Node]", store: "Store") -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, provenance) of some trials of each kind that are done: enough for rates, few enough to be read at once."""
    looked: Counter[tuple[str, str]] = Counter()
    for key, node in {node.key: node for node in nodes}.items():
        kind = (node.stage, node.method)
        looked[kind] += 1
        if looked[kind] <= _LOOKED_AT and store.has(key):
            yield key, store.provenance(key)


@click.command()
@results_option
@cluster_option
@click.pass_context
def status(context: click.Context, /, results: str, cluster: str | None) -> None:
    """Show what is done, running, missing and failed, and why; what is left, and what it costs."""
    if cluster is not None:
        given = context.get_parameter_source("results") is click.core.ParameterSource.COMMANDLINE
        status_on_cluster(cluster, results if given else None)
        return
    from benchmark.aggregation.suite_results import SuiteResults
    from benchmark.live import standing
    from benchmark.running.heartbeat import running

    store, console = existing_store(results), terminal()
    now = running(store.storage)
    for manifest in store.plans():
        found = SuiteResults(store, manifest)
        for problem in found.problems:
            say(console, f"problem {problem}")
        console.print(*standing(found, len(now)), sep="\n", highlight=False)
    for name in now[:_SHOWN]:
        say(console, f"  running {name}")
    if len(now) > _SHOWN:
        say(console, f"  and {len(now) - _SHOWN} more")
