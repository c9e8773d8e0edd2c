"""`bench verify`: checks every file of a results folder, and says what is damaged and where."""

import sys
import time
from typing import TYPE_CHECKING

import click

from benchmark.cli.common import DONE, SOME_FAILED, results_option, terminal

if TYPE_CHECKING:
    from benchmark.results.store import Store
    from benchmark.results.verification import Damage, Look


@click.command()
@results_option
@click.option("--set-aside", is_flag=True, help="Move what is damaged to RESULTS/set_aside; a run makes it anew.")
def verify(results: str, set_aside: bool) -> None:
    """Hash every file of the results, derive numbers again from raw output, and say what is damaged and where.

    Changes nothing without --set-aside. Exit code 0: all whole; 1: damage was found.
    """
    from benchmark.reading.text import printable
    from benchmark.results.store import Store
    from benchmark.results.verification import Look
    from benchmark.results.verification import verify as looks

    store, console, begin, total = Store(results), terminal(), time.monotonic(), Look()
    moved: dict[str, str] = {}
    with console.status("verifying") as status:
        for look in looks(store):
            for damage in look.damages:
                line = printable(
                    f"damaged {damage.name}: {damage.reason}; {_what_to_do(store, damage, set_aside, moved)}"
                )
                console.print(" ".join(line.split()), markup=False, highlight=False, soft_wrap=True)
            total += look
            status.update(f"verifying: {total.num_trials} trials, {total.num_bytes / 2**30:.3f} GiB")
    if not total.num_files and not total.damages:
        raise ValueError(f"--results: there is nothing in {results!r}; allowed: the results folder of a `bench run`")
    for line in _summary(total, time.monotonic() - begin):
        console.print(line, highlight=False, soft_wrap=True)
    sys.exit(SOME_FAILED if total.damages else DONE)


def _what_to_do(store: "Store", damage: "Damage", set_aside: bool, moved: dict[str, str]) -> str:
    """moved: where what was set aside is; several files of a trial may be damaged."""
    if not set_aside:
        return f"--set-aside moves it away: {damage.remedy}"
    if damage.aside not in moved:
        moved[damage.aside] = store.set_aside(damage.aside, f"{damage.name}: {damage.reason}")
    return f"set aside in {moved[damage.aside]}: {damage.remedy}"


def _summary(total: "Look", wall_s: float) -> list[str]:
    whole = f"{len(total.damages)} damaged" if total.damages else "all whole"
    lines = [f"{total.num_trials} trials, {total.num_files} files, {total.num_bytes / 2**30:.3g} GiB: {whole}"]
    lines.append(f"numbers of {total.num_rederived} trials were derived again from raw output; {wall_s:.1f} s")
    if total.num_older:
        text = "marks and records are of a version that wrote no checksums: some of their text cannot be proven"
        lines.append(f"{total.num_older} {text}")
    return lines
