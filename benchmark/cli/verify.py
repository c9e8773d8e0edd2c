"""`bench verify`: checks every file of a results folder, and every number that a page of it shows."""

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmark.cli.common import DONE, SOME_FAILED, data_option, include_option, results_option, say, terminal

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.rederivation.numbers import Line
    from benchmark.results.store import Store
    from benchmark.results.verification import Damage, Look


@click.command()
@results_option
@data_option
@click.option("--set-aside", is_flag=True, help="Move what is damaged to RESULTS/set_aside; a run makes it anew.")
@click.option("--models", is_flag=True, help="Pass the adversarial images through their networks again, too.")
@include_option
def verify(results: str, data_root: str | None, set_aside: bool, models: bool, include: tuple[str, ...]) -> None:
    """Hash every file of the results, derive the page's numbers again from raw output, and say what differs and where.

    Numbers are derived twice: a trial's own by the code that made them, then those of the page by code that shares
    nothing with it, with a line a metric. --models: loads the weights (--include: of your own architectures) and
    sees that every adversarial image that was kept fools them. Changes nothing without --set-aside. Exit code 0: all
    whole; 1: damage, or a number that differs.
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
    with console.status("deriving the numbers of the page again"):
        lines = _derived_again(store, data_root)
    if models:
        with console.status("passing adversarial images through their networks again"):
            lines += _passed_again(console, store, data_root, include)
    _print(console, lines)
    sys.exit(SOME_FAILED if total.damages or not all(line.holds for line in lines) else DONE)


def _derived_again(store: "Store", data_root: str | None) -> "list[Line]":
    """Of the page that `bench leaderboard` would write now."""
    from benchmark.aggregation.page_tables import summarise
    from benchmark.rederivation.verdict import verdict

    with tempfile.TemporaryDirectory() as folder:
        summarise(store, Path(folder), images=False, tell=lambda _: None, keep=False)  # what is damaged is said above
        return verdict(store, Path(folder), data_root)


def _passed_again(console: "Console", store: "Store", data_root: str | None, include: tuple[str, ...]) -> "list[Line]":
    """Says what could not be passed, and why; that is no difference."""
    from benchmark.rederivation.numbers import Check, lines
    from benchmark.results.adversarial_passes import ROUNDING, passed_again
    from benchmark.trials.trial import Settings
    from benchmark.user_files.include import load

    for file in include:
        load(file)
    checks, num_images = [], 0
    for passed in passed_again(store, Settings(str(store.root), data_root)):
        if passed.problem:
            say(console, f"not passed again: {passed.where}: {passed.problem}")
            continue
        num_images += passed.num_images
        checks.append(Check("adversarial images are judged right", passed.margin, ROUNDING, passed.where))
    say(console, f"{num_images:,} adversarial images of {len(checks)} trials were passed through their networks again")
    return lines(checks, {})


def _print(console: "Console", lines: "list[Line]") -> None:
    from rich.table import Table
    from rich.text import Text

    from benchmark.reading.text import printable

    table = Table(box=None, pad_edge=False)
    for title, side in (("derived again", "left"), ("numbers", "right"), ("largest difference", "right")):
        table.add_column(title, justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("tolerance", justify="right")
    table.add_column("")
    for line in lines:
        if line.worst is not None:
            verdict = "" if line.holds else f"DIFFERS: {line.worst.where}"
            sizes = (f"{line.worst.difference:.1e}", f"{line.worst.tolerance:.1e}")
            table.add_row(*(Text(printable(text)) for text in (line.metric, str(line.num_checked), *sizes, verdict)))
    if table.row_count:
        console.print(table, soft_wrap=True)
    left: Counter[str] = Counter()
    for line in lines:  # metrics of an epoch are counted as one
        left[re.sub(r"_\d+$", "_*", printable(line.metric))] += line.unchecked
    told = ", ".join(f"{metric} {count}" for metric, count in left.items() if count)
    if told:
        console.print(Text(f"published numbers and ends of intervals not derived again: {told}"))


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
