"""A run computes what is missing, once, in a good order; it loses nothing and hides nothing."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import toy

import benchmark.running.executors.worker
from benchmark.machine.durable_files import StoreFull
from benchmark.planning.plan import Plan
from benchmark.results.store import Store
from benchmark.running.executors import Finished
from benchmark.running.run import Rerun, run, select
from benchmark.running.schedule import Event, Report, priorities
from benchmark.trials.trial import Outcome, Settings, Trial
from benchmark.user_files import include


class Bench:
    """A store, and what happened in the last run on it."""

    def __init__(self, root: Path) -> None:
        self.store = Store(root)
        self.events: list[Event] = []
        self.executor: toy.Inline | None = None

    def run(self, plan: Plan, rerun: Rerun = "missing", lose: dict[str, int] | None = None) -> Report:
        self.events, self.executor = [], None

        def start(settings: Settings) -> toy.Inline:
            self.executor = toy.Inline(settings, lose)
            return self.executor

        return run(plan, self.store, start, toy.settings(self.store), rerun=rerun, on_event=self.events.append)

    def told(self, kind: str) -> list[tuple[str, str]]:
        """(label, message) of the events of a kind."""
        return [(e.node.stage.removeprefix("toy_") if e.node else "", e.message) for e in self.events if e.kind == kind]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "results")


def counts(report: Report) -> tuple[int, int, int, int, int]:
    return (report.num_done, report.num_cached, report.num_executed, report.num_failed, report.num_skipped)


def test_a_second_run_starts_nothing(bench: Bench) -> None:
    plan = toy.diamonds(2)
    assert counts(bench.run(plan)) == (7, 0, 7, 0, 0)
    totals = [bench.store.rows(node.key)["value"][0].as_py() for node in plan.nodes]
    assert totals == [1.0, 3.0, 4.0, 11.0, 3.0, 4.0, 11.0]
    assert [e.kind for e in bench.events].count("finished") == 7
    assert (bench.events[-1].num_done, bench.events[-1].num_total, bench.events[-1].num_left) == (7, 7, 0)
    assert counts(bench.run(plan)) == (7, 7, 0, 0, 0)
    assert bench.executor is None and [e.kind for e in bench.events] == ["begun"]


def test_a_larger_plan_computes_the_difference(bench: Bench) -> None:
    bench.run(toy.diamonds(1))
    assert counts(bench.run(toy.diamonds(2))) == (7, 4, 3, 0, 0)


def test_the_report_counts_the_trials_own_time(bench: Bench) -> None:
    report = bench.run(toy.plan(*(toy.node("add", seed=seed, seconds=0.05) for seed in range(3))))
    assert 0.15 <= report.trial_wall_s <= report.wall_s
    rows = [bench.store.rows(key) for key in bench.store.keys()]
    assert sum(table["wall_s"][0].as_py() for table in rows) == pytest.approx(report.trial_wall_s)


def test_priorities_are_the_longest_way_down() -> None:
    a = toy.node("add", value=1.0, cost=1.0)
    b, c = toy.node("add", a, value=2.0, cost=10.0), toy.node("add", a, value=3.0, cost=2.0)
    d = toy.node("add", b, c, value=4.0, cost=5.0)
    assert priorities(toy.plan(a, b, c, d)) == {a.key: 16.0, b.key: 15.0, c.key: 7.0, d.key: 5.0}


def test_what_holds_up_most_starts_first(bench: Bench) -> None:
    short = [toy.node("add", seed=seed, cost=3.0) for seed in range(5)]
    head = toy.node("add", value=9.0, cost=1.0)
    tail = toy.node("add", head, value=10.0, cost=9.0)
    bench.run(toy.plan(*short, head, tail))
    assert bench.executor is not None
    started = bench.executor.started
    assert started[0] == head.key
    assert started.index(tail.key) <= 3  # as soon as it could, ahead of the short ones that were left


def test_a_failure_keeps_its_traceback_and_the_others_go_on(bench: Bench, tmp_path: Path) -> None:
    bad = toy.node("fail", until=str(tmp_path / "mended"))
    good = toy.node("add", value=1.0)
    child = toy.node("add", bad, good, value=2.0)
    grandchild = toy.node("add", child, value=3.0)
    plan = toy.plan(bad, good, child, grandchild)
    assert counts(bench.run(plan)) == (1, 0, 1, 1, 2)
    (failure,) = bench.store.failures().values()
    assert failure["key"] == bad.key and failure["attempts"] == 1
    assert 'raise RuntimeError("the toy broke")' in failure["traceback"] and "toy_stages.py" in failure["traceback"]
    ((label, message),) = bench.told("failed")
    assert label == "fail" and message == failure["traceback"]
    assert bench.told("skipped") == [("add", "not run: toy_fail model 0 0 failed")] * 2

    assert counts(bench.run(plan)) == (1, 1, 0, 1, 2)  # it is tried again, and its failure is no result
    (tmp_path / "mended").touch()
    assert counts(bench.run(plan)) == (4, 1, 3, 0, 0)
    assert bench.store.failures() == {}


def test_a_row_that_is_not_finite_fails_its_trial(bench: Bench) -> None:
    assert counts(bench.run(toy.plan(toy.node("notfinite")))) == (0, 0, 0, 1, 0)
    ((_, message),) = bench.told("failed")
    assert "metric 'accuracy' has value=nan; allowed: a finite number" in message


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_lost_worker_is_replaced_twice(bench: Bench, lost: int) -> None:
    plan = toy.diamonds(1)
    key = plan.nodes[1].key
    report = bench.run(plan, lose={key: lost})
    assert len(bench.told("retried")) == min(lost, 2)
    assert counts(report) == ((4, 0, 4, 0, 0) if lost <= 2 else (2, 0, 2, 1, 1))
    failures = {k: (f["attempts"], f["traceback"]) for k, f in bench.store.failures().items()}
    said = "the worker is gone\ntoy_add model 0 0 lost its process 3 times: the worker is gone"
    assert failures == ({} if lost <= 2 else {key: (3, said)})


@pytest.mark.parametrize(("how", "said"), [("sys.exit", "SystemExit: 3"), ("raise", "KeyboardInterrupt")])
def test_a_method_that_exits_fails_as_any_other_and_once(bench: Bench, tmp_path: Path, how: str, said: str) -> None:
    (tmp_path / how).mkdir()
    leaving, well = toy.node("leave", how=how, folder=str(tmp_path / how)), toy.node("add", seed=1)
    report = bench.run(toy.plan(leaving, well))
    assert counts(report) == (1, 0, 1, 1, 0) and not report.interrupted
    (failure,) = bench.store.failures().values()
    assert (failure["stage"], failure["attempts"], len(list((tmp_path / how).iterdir()))) == ("toy_leave", 1, 1)
    assert failure["traceback"].splitlines()[-1] == said and "toy_stages.py" in failure["traceback"]


def test_rerun_failed_leaves_other_missing_trials_alone(bench: Bench, tmp_path: Path) -> None:
    bad = toy.node("fail", until=str(tmp_path / "mended"))
    child = toy.node("add", bad, value=2.0)
    bench.run(toy.plan(bad, child))
    (tmp_path / "mended").touch()
    new = toy.node("add", value=7.0)
    both = toy.node("add", new, child, value=8.0)
    report = bench.run(toy.plan(bad, new, child, both), rerun="failed")
    assert counts(report) == (2, 0, 2, 0, 1)
    assert bench.told("skipped") == [("add", "not run: toy_add model 0 0 is missing")]
    assert not bench.store.has(new.key)


def test_rerun_all_computes_each_key_once_more(bench: Bench) -> None:
    plan = toy.diamonds(1)
    bench.run(plan)
    before = {key: bench.store.provenance(key)["created_utc"] for key in bench.store.keys()}
    content = toy.content(bench.store)
    assert counts(bench.run(plan, rerun="all")) == (4, 0, 4, 0, 0)
    assert all(bench.store.provenance(key)["created_utc"] > before[key] for key in before)
    assert toy.content(bench.store) == content


def test_select() -> None:
    plan = toy.diamonds(1)
    root, left, right, join = (node.key for node in plan.nodes)
    assert select(plan, {root, right}, {}, "missing") == {left, join}
    assert select(plan, {root}, {left}, "failed") == {left, join}
    assert select(plan, {root}, {}, "failed") == set()
    assert select(plan, {root, left, right, join}, {}, "all") == {root, left, right, join}


DAMAGE = [("rows.parquet", 10), ("tensors.safetensors", 10), ("ids.parquet", 10), ("trial.json", 10), ("trial.json", 0)]


@pytest.mark.parametrize(("name", "size"), DAMAGE)
@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_truncated_file_is_reported_set_aside_and_recomputed(bench: Bench, which: int, name: str, size: int) -> None:
    plan = toy.diamonds(1)
    bench.run(plan)
    content = toy.content(bench.store)
    key = plan.nodes[which].key
    os.truncate(bench.store.folder(key) / name, size)
    assert counts(bench.run(plan)) == (4, 3, 1, 0, 0)
    ((_, message),) = bench.told("problem")
    assert message.startswith(f"trials/{key[:2]}/{key}: {name}: ") and "set aside in set_aside/" in message
    assert [path.stat().st_size for path in (bench.store.root / "set_aside").rglob(name)] == [size]
    assert toy.content(bench.store) == content
    assert counts(bench.run(plan)) == (4, 4, 0, 0, 0)


def test_foreign_files_are_reported_and_set_aside(bench: Bench) -> None:
    plan = toy.diamonds(1)
    bench.run(plan)
    key = plan.nodes[0].key
    (bench.store.root / "trials" / "notes").mkdir()
    (bench.store.folder(key) / "model.pkl").write_bytes(b"\x80\x04.")
    (bench.store.root / "plans").mkdir()
    (bench.store.root / "plans" / "x.json").write_text("{")
    assert counts(bench.run(plan)) == (4, 4, 0, 0, 0)
    assert len(bench.told("problem")) == 3
    assert bench.store.check() == [] and bench.store.has(key)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_parent_with_a_flipped_bit_is_computed_again(bench: Bench) -> None:
    small, large = toy.diamonds(1), toy.diamonds(3)
    bench.run(large)
    content = toy.content(bench.store)
    bench.store.root.rename(bench.store.root.with_name("whole"))
    bench.run(small)
    _flip(bench.store.folder(small.nodes[0].key) / "tensors.safetensors")
    assert counts(bench.run(large)) == (10, 3, 7, 0, 0)  # the root once, however many of its children read it
    ((_, message),) = bench.told("problem")
    assert message.startswith("tensors.safetensors: its sha256 is not")
    assert bench.told("failed") == [] and toy.content(bench.store) == content


def test_a_parent_that_stays_corrupt_fails_the_child(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy.node("add", value=1.0)
    child = toy.node("add", root, value=2.0)
    write = Store.write

    def write_badly(store: Store, trial: Trial, outcome: Outcome, provenance: dict[str, object]) -> None:
        write(store, trial, outcome, provenance)
        if trial.key == root.key:
            _flip(store.folder(root.key) / "tensors.safetensors")

    monkeypatch.setattr(Store, "write", write_badly)
    report = bench.run(toy.plan(root, child))
    assert (report.num_failed, bench.executor and bench.executor.started) == (1, [root.key, child.key] * 2)
    assert "CorruptArtifact" in bench.store.failures()[child.key]["traceback"]


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = toy.diamonds(3)
    write = Store.write

    def write_until_full(store: Store, trial: Trial, outcome: Outcome, provenance: dict[str, object]) -> None:
        if len(store.keys()) == 2:
            raise StoreFull(store.root)
        write(store, trial, outcome, provenance)

    monkeypatch.setattr(Store, "write", write_until_full)
    with pytest.raises(StoreFull, match="is full"):
        bench.run(plan)
    assert len(bench.store.keys()) == 2 and bench.store.failures() == {}
    assert bench.executor is not None and len(bench.executor.started) < len(plan.nodes)
    monkeypatch.undo()
    assert counts(bench.run(plan)) == (10, 2, 8, 0, 0)


def test_ctrl_c_keeps_what_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = toy.diamonds(2)
    wait = toy.Inline.wait

    def interrupted(executor: toy.Inline, timeout: float | None = None) -> list[Finished]:
        if len(bench.store.keys()) == 3:
            raise KeyboardInterrupt
        return wait(executor, timeout)

    monkeypatch.setattr(toy.Inline, "wait", interrupted)
    report = bench.run(plan)
    assert report.interrupted and counts(report) == (3, 0, 3, 0, 0)
    monkeypatch.undo()
    assert counts(bench.run(plan)) == (7, 3, 4, 0, 0)


def test_a_results_folder_that_cannot_be_written_starts_nothing(bench: Bench) -> None:
    bench.store.root.write_text("a file")
    with pytest.raises(ValueError, match="results: .* cannot be written"):
        bench.run(toy.diamonds(1))
    assert bench.executor is None


def test_the_store_holds_no_pickle(bench: Bench) -> None:
    bench.run(toy.plan(*toy.diamonds(1).nodes, toy.node("notfinite")))
    bench.store.write_plan(toy.diamonds(1), {})
    files = [path for path in bench.store.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".parquet", ".safetensors"}
    for path in files:
        begin = path.read_bytes()[:9]
        assert begin.startswith(b"PAR1") if path.suffix == ".parquet" else b"{" in (begin[:1], begin[8:9])


def test_where_a_result_comes_from_is_no_part_of_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = toy.diamonds(1)
    bench.run(plan)
    content = toy.content(bench.store)
    elsewhere = {**bench.store.provenance(plan.nodes[0].key), "host": "elsewhere", "versions": "x", "git_commit": "x"}
    monkeypatch.setattr(benchmark.running.executors.worker, "provenance", lambda device, threads: elsewhere)
    bench.run(plan, rerun="all")
    assert bench.store.rows(plan.nodes[0].key)["host"][0].as_py() == "elsewhere"
    assert toy.content(bench.store) == content


def test_relative_paths_reach_the_workers_as_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[Settings] = []

    def start(settings: Settings) -> toy.Inline:
        seen.append(settings)
        return toy.Inline(replace(settings, include=(toy.STAGES,)))

    Path("mine.py").write_text("# mine\n")
    run(toy.diamonds(0), Store("here"), start, Settings("here", device="cpu", include=("mine.py",)))
    assert seen[0].results == str(tmp_path / "here")
    assert seen[0].include == (include.Source(str(tmp_path / "mine.py"), b"# mine\n"),)
