"""`bench compact`: care for a results folder."""

import time

import click

from benchmark.cli.common import existing_store, results_option, terminal


@click.command()
@results_option
def compact(results: str) -> None:
    """Gather the numbers of all finished trials into one file, so that resumes and pages of many are fast."""
    from benchmark.compaction import compact as gather

    begin, store = time.monotonic(), existing_store(results)
    found = gather(store)
    text = f"{found.num_trials} trials in the index, {found.num_new} of them new; {time.monotonic() - begin:.1f} s"
    terminal().print(text, highlight=False)
