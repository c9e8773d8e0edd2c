"""What the commands share: exit codes, errors in one line, common options, the terminal."""

import io
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from benchmark.machine import interrupts
from benchmark.machine.home import settle
from benchmark.machine.interrupts import INTERRUPTED, SAID
from benchmark.reading.text import printable

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.results.store import Store

DONE, SOME_FAILED, WRONG_INPUT = 0, 1, 2
_WIDTH = 132
MOST_SLOTS = 100_000
"""Trials side by side, on all machines of a cluster."""


def terminal() -> "Console":
    """The terminal; where there is none, lines wide enough for the tables."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def say(console: "Console", text: str) -> None:
    """Print one line, whatever is in it; it may be longer than the terminal is wide."""
    from benchmark.live.lines import line

    console.print(line(text), soft_wrap=True)


def fail(message: str) -> NoReturn:
    click.echo(f"bench: error: {printable(' '.join(message.split()))}", err=True)
    sys.exit(WRONG_INPUT)


class Commands(click.Group):
    """What the user must mend, in the call or in a file, ends in one line and exit code 2; Ctrl-C in one and 130."""

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """As a process: what is called here ends with it."""
        interrupts.arm()
        for stream in (sys.stdout, sys.stderr):  # a character that a terminal has not must end no run
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            self.main(*args, **kwargs)
        except SystemExit as end:
            if end.code == INTERRUPTED:
                interrupts.leave(INTERRUPTED)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is written
            raise

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            settle()
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.UsageError as error:
            fail(error.format_message())
        except click.Abort as error:
            said = str(error.__cause__ or "")
            click.echo(f"{SAID}{said and ', '}{said}", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `bench list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(SOME_FAILED)
        except BaseException as error:
            if message := _in_users_code(error):
                fail(message)
            if isinstance(error, ValueError | OSError):
                fail(str(error))
            raise
        sys.exit(code if isinstance(code, int) else DONE)


def _in_users_code(error: BaseException) -> str:
    """What went wrong in a method of the user's, such as in one of its properties; "" if it was elsewhere."""
    include = sys.modules.get("benchmark.user_files.include")  # not loaded: nothing of the user's was run
    return f"--include: {found}" if include and (found := include.blame(error)) else ""


def folder(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if "://" in value:
        raise click.UsageError(f"--{parameter.name}: {value!r} is a URL; allowed: a folder of this machine or on NFS")
    return value


results_option = click.option(
    "--results", default="results", show_default=True, help="Folder or URL (s3://BUCKET/PREFIX) of the results."
)
site_option = click.option("--site", default="site", show_default=True, callback=folder, help="Folder of the page.")
data_option = click.option("--data-root", envvar="BENCH_DATA", help="Folder of the data sets.  [env: BENCH_DATA]")
include_option = click.option("--include", multiple=True, metavar="FILE.py", help="Run this file: methods of your own.")


def make_site(site: Path) -> None:
    """Make the page's folder before the hours of a run, to find out early if the page could not be written."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=site):
            pass
    except OSError as error:
        raise ValueError(
            f"site: {str(site)!r} cannot be written ({error.strerror}); allowed: a folder that you may write to"
        ) from error


def existing_store(results: str) -> "Store":
    from benchmark.results.finished_trials import record_names
    from benchmark.results.store import Store
    from benchmark.storage.patience import at_once

    store = Store(results)
    with at_once():
        unsound = store.unsound_records()
    for name in unsound:
        say(terminal(), f"problem {name}: not a record of a run; passed over")
    if not set(record_names(store.storage, "plans")) - set(unsound):
        raise ValueError(f"--results: no suite was run in {results!r}; allowed: the results folder of a `bench run`")
    return store
