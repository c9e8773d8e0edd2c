"""`bench stop`, `--cluster` of `bench run` and `bench status`, and `bench on-head`, which they call on the head."""

import json
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from benchmark.cli.common import DONE, SOME_FAILED, make_site
from benchmark.machine.interrupts import INTERRUPTED

if TYPE_CHECKING:
    from benchmark.cluster.remote_run import Head

_RAY_PORT = 6379

cluster_option = click.option("--cluster", metavar="FILE.yaml", help="On the running cluster of this file.")


def run_on_cluster(suite: str, file: str, options: dict[str, Any]) -> NoReturn:
    """Send SUITE to the head, or look at its run there if there is one; exits with the run's code."""
    from benchmark.cluster.remote_run import compose, find_head, follow

    call = compose(file, suite, options)
    make_site(Path(options["site"]))
    head = find_head(file)
    head.check()
    name = call.suite
    before = [run for run in head.ask("state") if run["name"] == name and run["running"]]
    if not before:
        head.send(call.given, name)
    if head.ask("start", name, json.dumps(call.arguments)):
        click.echo(f"{name} runs on {head.address}; Ctrl-C leaves it running")
    else:
        since = _since(before[0]["begun"]) if before else "now"
        click.echo(f"{name} runs on {head.address} already, since {since}; this call looks at it and starts nothing")
    try:
        code = follow(head, name, lambda data: click.echo(data, nl=False), lambda text: click.echo(text, err=True))
    except KeyboardInterrupt:
        click.echo(
            f"\nleft; {name} runs on. To look again: the same call. How it stands: bench status --cluster {file}"
        )
        click.echo(f"To stop it: bench stop {name} --cluster {file}")
        sys.exit(INTERRUPTED)
    if code in (DONE, SOME_FAILED, INTERRUPTED):
        _fetch(head, name, Path(options["site"]))
    sys.exit(code)


def _fetch(head: "Head", name: str, site: Path) -> None:
    try:
        head.fetch(name, "site", site)
        click.echo(f"page, here: {(site / 'index.html').resolve().as_uri()}")
    except ValueError as error:  # an interrupted run may have none
        click.echo(f"no page was fetched: {error}", err=True)


def _since(begun: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun))


def status_on_cluster(file: str, results: str | None) -> None:
    """How the runs on the head stand, and what is in their results."""
    from benchmark.cluster.remote_run import find_head

    head = find_head(file)
    runs = head.ask("state")
    if not runs and results is None:
        click.echo(f"nothing was run on {head.address} yet")
    for run in runs:
        ended = "lost: its machine or its supervisor was" if run["code"] is None else f"ended with code {run['code']}"
        click.echo(f"{run['name']}: {'running' if run['running'] else ended}, begun {_since(run['begun'])}")
    for place in [results] if results is not None else dict.fromkeys(run["results"] for run in runs):
        click.echo(head.call("status", "--results", place), nl=False)


@click.command()
@click.argument("suite")
@click.option("--cluster", metavar="FILE.yaml", required=True, help="The cluster on which it runs.")
def stop(suite: str, cluster: str) -> None:
    """Stop the run of SUITE (its name) on a cluster, as Ctrl-C does here; what is finished is kept."""
    from benchmark.cluster.remote_run import find_head

    head = find_head(cluster)
    if suite not in [run["name"] for run in head.ask("state") if run["running"]]:
        raise ValueError(f"{suite!r} does not run on {head.address}; allowed: what `bench status --cluster` shows")
    click.echo(f"{suite} is stopped" if head.ask("stop", suite) else f"{suite} was told to stop and still runs")


@click.group(hidden=True)
def on_head() -> None:
    """What `--cluster` calls on the head of a cluster. Answers in JSON."""


def _folder(name: str) -> Path:
    from benchmark.cluster import detached

    return Path(detached.RUNS).expanduser() / detached.folder_name(name)


@on_head.command()
def about() -> None:
    from benchmark.cluster import detached

    with socket.socket() as probe:
        up = probe.connect_ex(("127.0.0.1", _RAY_PORT)) == 0
    click.echo(json.dumps({**detached.about(), "up": up}))


@on_head.command()
@click.argument("suite")
@click.argument("arguments")
def start(suite: str, arguments: str) -> None:
    from benchmark.cluster import detached

    words = json.loads(arguments)
    facts = {"results": words[words.index("--results") + 1]}
    click.echo(json.dumps(detached.start(_folder(suite), ["bench", "run", *words], facts)))


@on_head.command()
@click.argument("suite")
@click.option("--offset", type=int, default=0)
def follow(suite: str, offset: int) -> None:
    from benchmark.cluster import detached

    def write(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    sys.exit(detached.follow(_folder(suite), offset, write))


@on_head.command()
def state() -> None:
    from benchmark.cluster import detached

    click.echo(json.dumps(detached.states(Path(detached.RUNS).expanduser())))


@on_head.command(name="stop")
@click.argument("suite")
def stop_here(suite: str) -> None:
    from benchmark.cluster import detached

    click.echo(json.dumps(detached.stop(_folder(suite))))
