"""`bench compact`, and the same after a run that left many trials in no index."""

import time
from typing import TYPE_CHECKING

import click

from benchmark.cli.common import existing_store, results_option, say, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.results.store import Store


def gather_if_many(console: "Console", store: "Store") -> None:
    """After a run: compact if more than `compaction.MANY` trials are in no index. Only prints a failure."""
    from benchmark.results import compaction

    try:
        if compaction.num_loose(store) > compaction.MANY:
            with console.status("gathering the trials into the index"):
                compaction.compact(store)
    except (OSError, ValueError) as error:
        say(console, f"problem index: {error}")


@click.command()
@results_option
def compact(results: str) -> None:
    """Gather the numbers of all finished trials into one file, so that resumes and pages of many are fast."""
    from benchmark.results.compaction import compact as gather

    begin, store = time.monotonic(), existing_store(results)
    found = gather(store)
    text = f"{found.num_trials} trials in the index, {found.num_new} of them new; {time.monotonic() - begin:.1f} s"
    terminal().print(text, highlight=False)
