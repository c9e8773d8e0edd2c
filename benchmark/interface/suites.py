"""Suites from Python: `load_suite`, `plan`, `run`. What `bench plan` and `bench run` do, with DataFrames."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml

from benchmark.interface.progress_bar import progress_bar
from benchmark.interface.report import Report
from benchmark.machine.home import settle
from benchmark.planning.check import Prepared, check_device, prepare, prepare_suite
from benchmark.planning.models_of_suite import ExternalModel
from benchmark.planning.suite import Suite
from benchmark.planning.suite import load_suite as read_suite
from benchmark.reading.text import printable, shown
from benchmark.results.store import Store
from benchmark.running.begin import begin
from benchmark.running.executors import Name as Executor
from benchmark.running.executors import factory
from benchmark.running.run import Rerun
from benchmark.running.run import run as run_plan
from benchmark.running.schedule import Event
from benchmark.spec import Spec, SpecError, suggest
from benchmark.user_files.include import load as include_file
from benchmark.user_files.include import path_of

if TYPE_CHECKING:
    import pandas as pd

_EXECUTORS = get_args(Executor)


def load_suite(path: str | Path, include: Sequence[str] = ()) -> Suite:
    """The checked suite of a file. include: files with methods of your own. Raises SpecError, in one line.

    Checkpoints and lists of members are looked for beside the file, wherever the suite is used.
    """
    for file in include:
        include_file(file)
    suite, _ = read_suite(str(path))
    folder = Path(path).parent.absolute()
    models = [_at(model, folder) if isinstance(model, ExternalModel) else model for model in suite.models]
    return suite if models == suite.models else suite.model_copy(update={"models": models})


def plan(
    suite: str | Path | Suite,
    results: str | Path = "results",
    *,
    data_root: str | None = None,
    include: Sequence[str] = (),
) -> "pd.DataFrame":
    """The trials of a suite, parents first; runs nothing.

    A row a trial: stage, method, model, replica, key, cached (whether `results` has it), operations (floating-point,
    roughly). Raises SpecError or ValueError, in one line, for what the user must mend.
    """
    import pandas as pd

    prepared = _prepared(suite, data_root, include)
    done, _ = Store(str(results)).scan()
    rows = [
        {
            "stage": node.stage,
            "method": node.method,
            "model": node.model,
            "replica": node.replica,
            "key": node.key,
            "cached": node.key in done,
            "operations": node.cost,
        }
        for node in prepared.plan.nodes
    ]
    return pd.DataFrame(rows).astype({"replica": "Int64"})


def run(
    suite: str | Path | Suite,
    results: str | Path = "results",
    *,
    executor: Executor = "in_process",
    data_root: str | None = None,
    device: str = "auto",
    slots: int = 0,
    include: Sequence[str] = (),
    rerun: Rerun = "missing",
    progress: bool | None = None,
) -> Report:
    """Run what `results` lacks of a suite; the report of it.

    executor: "in_process", a trial at a time; "local", worker processes, and "ray" on this machine, which in a script
    both need `if __name__ == "__main__":`. All give the same numbers. slots: trials side by side; 0: one a core.
    Raises SpecError or ValueError, in one line, for what the user must mend, and KeyboardInterrupt on Ctrl-C, after
    which a second call goes on. Warns where trials failed. progress: show a bar; None: in a notebook alone.
    """
    check_executor(executor)
    if rerun not in ("missing", "failed", "all"):
        raise SpecError(f"rerun: {shown(rerun)} is not allowed; allowed: missing, failed, all")
    prepared = _prepared(suite, data_root, include)
    report = run_prepared(
        prepared,
        str(results),
        executor=executor,
        device=device,
        slots=slots,
        rerun=rerun,
        progress=progress,
        data_root=data_root,
        include=tuple(include),
    )
    warn_of_failures(report)
    return report


def run_prepared(
    prepared: Prepared,
    results: str,
    *,
    executor: Executor,
    device: str,
    slots: int = 0,
    rerun: Rerun = "missing",
    progress: bool | None = None,
    **settings: Any,
) -> Report:
    """The run of a checked suite, see `run`. settings: see `running.begin`."""
    settle()
    _check_code(prepared.suite)
    check_device(device)
    store = Store(results)
    store.writable()
    given = begin(prepared, store, results, device=device, **settings)
    total = len({node.key for node in prepared.plan.nodes})
    with progress_bar(printable(prepared.suite.name), total, "trials", progress) as advance:
        shown_done = 0

        def follow(event: Event) -> None:
            nonlocal shown_done
            advance(event.num_done - shown_done)
            shown_done = event.num_done

        ended = run_plan(prepared.plan, store, factory(executor, slots), given, rerun=rerun, on_event=follow)
    if ended.interrupted:
        raise KeyboardInterrupt
    return Report(results, prepared.suite.name, ended)


def warn_of_failures(report: Report) -> None:
    """Warn the caller's caller where trials have no result."""
    if report.num_missing:
        text = f"{report.num_missing} of {report.num_trials} trials failed or were not run; see failures"
        warnings.warn(text, stacklevel=3)


def _check_code(part: Any) -> None:
    """Raise SpecError for a method whose code is in no file that is part of its trials' identity."""
    if isinstance(part, Spec):
        if not part.origin.startswith("benchmark.") and not path_of(part):
            name = type(part).__name__
            raise SpecError(f"{name} is registered in this process alone; allowed: a file with it, include=['FILE.py']")
        part = [getattr(part, name) for name in type(part).model_fields]
    if isinstance(part, list | tuple):
        for each in part:
            _check_code(each)


def check_executor(executor: str, in_memory: bool = False) -> None:
    """Raise SpecError for one that is none, or that cannot have a network of this process."""
    if executor not in _EXECUTORS:
        raise SpecError(f"executor: {shown(executor)} is none{suggest(str(executor), _EXECUTORS)}")
    if in_memory and executor != "in_process":
        allowed = "in_process, or an architecture=... that is registered"
        raise SpecError(f"executor: {executor!r} cannot have a network of this process's memory; allowed: {allowed}")


def _prepared(suite: str | Path | Suite, data_root: str | None, include: Sequence[str]) -> Prepared:
    if not isinstance(suite, Suite):
        return prepare(str(suite), data_root, include)
    for file in include:
        include_file(file)
    text = yaml.safe_dump(suite.model_dump(mode="json", exclude_none=True), sort_keys=False)
    return prepare_suite(suite, text, f"{suite.name}.yaml", data_root, include)


def _at(model: ExternalModel, folder: Path) -> ExternalModel:
    """The model with absolute paths."""
    given = model.checkpoint
    changed: dict[str, Any] = {"path": str(folder / given.path)}
    if isinstance(given.members, str) and given.members != "all":
        changed["members"] = str(folder / given.members)
    return model.model_copy(update={"checkpoint": given.model_copy(update=changed)})
