"""What the commands share: exit codes, errors in one line, options, the terminal."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.store import Store

DONE, SOME_FAILED, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130
_WIDTH = 132
MOST_SLOTS = 100_000
"""Trials side by side, on all machines of a cluster."""


def terminal() -> "Console":
    """The terminal; where there is none, lines wide enough for the tables."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


def fail(message: str) -> NoReturn:
    click.echo(f"bench: error: {' '.join(message.split())}", err=True)
    sys.exit(WRONG_INPUT)


class Commands(click.Group):
    """What the user must mend, in the call or in a file, ends in one line and exit code 2."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        try:
            code = super().main(*args, **{**kwargs, "standalone_mode": False})
        except click.UsageError as error:
            fail(error.format_message())
        except click.Abort:
            click.echo("bench: interrupted", err=True)
            sys.exit(INTERRUPTED)
        except BrokenPipeError:  # `bench list | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(SOME_FAILED)
        except (ValueError, OSError) as error:
            fail(str(error))
        sys.exit(code if isinstance(code, int) else DONE)


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
    """Find out before the hours of a run that the page could not be written."""
    try:
        site.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=site):
            pass
    except OSError as error:
        raise ValueError(
            f"site: {str(site)!r} cannot be written ({error.strerror}); allowed: a folder that you may write to"
        ) from error


def existing_store(results: str) -> "Store":
    from benchmark.store import Store

    store = Store(results)
    if not store.plans():
        raise ValueError(f"--results: no suite was run in {results!r}; allowed: the results folder of a `bench run`")
    return store
