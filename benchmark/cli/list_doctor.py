"""`bench list` and `bench doctor`: the registered methods, and what a run on this machine would use."""

import click

from benchmark.cli.common import data_option, include_option, results_option, terminal


@click.command(name="list")
@include_option
def list_methods(include: tuple[str, ...]) -> None:
    """List every registered method with its source."""
    from benchmark.live import methods
    from benchmark.user_files.include import load

    for file in include:
        load(file)
    terminal().print(methods())


@click.command()
@results_option
@data_option
def doctor(results: str, data_root: str | None) -> None:
    """Show what will be used here, and why: device, FAISS, Ray, disk, threads, data sets."""
    from benchmark.running.doctor import findings

    for name, finding in findings(results, data_root):
        terminal().print(f"{name:18} {finding}", highlight=False, markup=False, soft_wrap=True)
