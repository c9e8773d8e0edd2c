"""What lies in a results folder, as DataFrames, and the report of one suite of it."""

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from benchmark.aggregation.page_tables import summarise
from benchmark.interface.progress_bar import in_notebook
from benchmark.results.finished_trials import record_names
from benchmark.results.store import Store
from benchmark.running.schedule import Report as Ended
from benchmark.schema import LEADERBOARD, RESULTS, STATUS
from leaderboard.build import build
from leaderboard.parquet_rows import read

if TYPE_CHECKING:
    import pandas as pd

_TABLES = {"leaderboard": LEADERBOARD, "results": RESULTS, "status": STATUS}


class Results:
    """The suites of a results folder, as they are when they are first asked for; may be made during a run.

    results: folder or URL. suite: only this one's rows; None: all.
    """

    def __init__(self, results: str, suite: str | None = None) -> None:
        self.results, self.suite = results, suite

    @property
    def leaderboard(self) -> "pd.DataFrame":
        """A row a model, with the columns of the page's leaderboard.csv; `NAME_low` and `NAME_high`: 95% interval."""
        return self._frame("leaderboard")

    @property
    def metrics(self) -> "pd.DataFrame":
        """A row a number, of trials, replicas and controls, with its interval, or a note why it is empty."""
        return self._frame("results")

    @property
    def status(self) -> "pd.DataFrame":
        """A row a trial: done, failed or missing."""
        return self._frame("status")

    @property
    def failures(self) -> "pd.DataFrame":
        """The trials that failed: the last line of each error, and the whole `traceback`."""
        status = self.status
        failed = status[status["state"] == "failed"].reset_index(drop=True)
        kept = Store(self.results).failures() if len(failed) else {}
        return failed.assign(traceback=[kept.get(key, {}).get("traceback", "") for key in failed["trial_key"]])

    def page(self, folder: str | Path = "site", *, images: bool = True) -> Path:
        """Build the page of all that the results hold, as `bench leaderboard` does; the path of its index.html."""
        summarise(Store(self.results), Path(folder), images, tell=_pass_over)
        return build(Path(folder), images=images).absolute()

    def _frame(self, name: str) -> "pd.DataFrame":
        frame: pd.DataFrame = self._tables[name].to_pandas()
        return frame if self.suite is None else frame[frame["suite"] == self.suite].reset_index(drop=True)

    @cached_property
    def _tables(self) -> dict[str, pa.Table]:
        with tempfile.TemporaryDirectory() as folder:
            summarise(Store(self.results), Path(folder), images=False, tell=_pass_over)
            return {name: read(Path(folder) / f"{name}.parquet", columns) for name, columns in _TABLES.items()}

    def __repr__(self) -> str:
        of_suite = "" if self.suite is None else f", suite {self.suite!r}"
        return f"{type(self).__name__}({self.results!r}{of_suite}: {len(self.leaderboard)} models)"


class Report(Results):
    """A suite that was run. num_run, num_cached: trials that were computed, and that were there before.

    num_missing: of num_trials, those without a result.
    """

    suite: str

    def __init__(self, results: str, suite: str, ended: Ended) -> None:
        super().__init__(results, suite)
        self.num_run, self.num_cached, self.num_trials = ended.num_executed, ended.num_cached, ended.num_total
        self.num_missing, self.wall_s = ended.num_failed + ended.num_skipped, ended.wall_s

    @property
    def table(self) -> "pd.DataFrame":
        """The leaderboard of the suite."""
        return self.leaderboard

    def show(self) -> None:
        """Show table and pictures in a notebook; elsewhere write the ranking and the controls to the terminal."""
        if in_notebook():
            from IPython.display import display

            display(self)
            return
        from rich.console import Console

        from benchmark.live import controls, ranking

        console = Console()
        console.print(ranking(self._tables_of("leaderboard"), console.width))
        verdicts = [
            row for row in self._tables_of("results") if row["stage"] == "control" and row["metric"] == "passed"
        ]
        console.print(controls(verdicts))

    def _tables_of(self, name: str) -> list[Any]:
        return [row for row in self._tables[name].to_pylist() if row["suite"] == self.suite]

    def _repr_html_(self) -> str:
        from benchmark.interface.report_html import report_html

        return report_html(self)

    @cached_property
    def pictures(self) -> bytes:
        """A PNG: the first reconstruction of each class, a row a model; empty if nothing was inverted."""
        from benchmark.interface.report_html import contact_sheet

        with tempfile.TemporaryDirectory() as folder:
            summarise(Store(self.results), Path(folder), tell=_pass_over)
            return contact_sheet(Path(folder), self.suite)


def load_results(results: str | Path = "results") -> Results:
    """What a results folder, or the one behind a URL, holds. Raises ValueError where no suite was run."""
    store = Store(str(results))
    if not record_names(store.storage, "plans"):
        raise ValueError(f"no suite was run in {str(results)!r}; allowed: the results folder of a run")
    return Results(str(results))


def _pass_over(problem: object) -> None:
    """A trial of which a file is damaged is missing from the tables; the next run sets it aside and says so."""
