"""From a suite file to a page, with the real command: same numbers under every executor, nothing done twice."""

import os
import re
import shutil
from pathlib import Path

import command
import pyarrow.parquet as pq
import pytest
from command import Run, bench, call, measured

from benchmark.results.store import Store


def test_a_run_ends_with_the_ranking_and_the_page(tiny_run: Run) -> None:
    assert tiny_run.stderr == "", "no warning, no noise"
    lines = tiny_run.stdout.splitlines()
    assert lines[0].startswith("data: Fashion-MNIST subset, 11,000 + 2,000 test images")
    begin = lines.index("0 of 87 trials are done already; 87 to run")
    assert begin <= 2
    assert re.fullmatch(r"\[87/87\] .*  \d+\.\d s", lines[begin + 87])
    assert "suite tiny: most robust first" in lines[begin + 88]
    assert any(line.startswith("controls: ") for line in lines)
    assert lines[-2] == f"page: {(tiny_run.site / 'index.html').as_uri()}"
    assert re.fullmatch(
        r"87 trials run, 0 there before, 0 failed, 0 not run; .* s for .* s of compute: .*-hours.*", lines[-1]
    )
    for name in ("index.html", "leaderboard.csv", "leaderboard.parquet", "results.parquet", "gallery.parquet"):
        assert (tiny_run.site / name).is_file()


def test_the_page_needs_no_network_and_has_every_row(tiny_run: Run) -> None:
    board = pq.read_table(tiny_run.site / "leaderboard.parquet").to_pylist()
    assert [row["model"] for row in board] == ["softmax", "hardened"]
    for row in board:
        empty = {name for name, value in row.items() if value is None}
        against_none = {"train_norm", "train_epsilon"} if row["model"] == "softmax" else set()
        unbadged = set() if row["pareto"] else {"pareto_note"}
        rates = ("tpr_at_1pct_fpr", "tpr_at_0_1pct_fpr")
        unresolved = {f"{rate}{end}" for rate in rates for end in ("", "_low", "_high")}  # by 300 non-members
        not_asked = {f"mean_corruption_accuracy{end}" for end in ("", "_low", "_high")}
        unknown = {"checkpoint", "cost", "currency", "proven_epsilon"} | not_asked
        assert empty == unknown | against_none | unresolved | unbadged
        assert row["num_replicas"] == 2 and row["num_members"] == 300 and row["eval_epsilon"] == 0.5
        assert row["robust_accuracy_low"] <= row["robust_accuracy"] <= row["robust_accuracy_high"]
    reasons = [r for r in pq.read_table(tiny_run.site / "results.parquet").to_pylist() if r["value"] is None]
    assert all(row["note"] for row in reasons)
    gallery = pq.read_table(tiny_run.site / "gallery.parquet")
    assert len(gallery) == 2 * 2 * 3 * 4  # models, replicas, classes, samples


def test_a_second_run_executes_nothing_and_needs_no_executor(tmp_path: Path, tiny_run: Run) -> None:
    """The default executor is Ray, and here Ray cannot be imported."""
    arguments = ("run", command.TINY, "--results", tiny_run.results, "--site", tmp_path / "site")
    again = bench(*arguments, env=command.without_ray(tmp_path))
    assert again.returncode == 0 and again.stderr == "", again.stderr
    assert "0 trials run, 87 there before, 0 failed, 0 not run" in again.stdout
    for name in ("leaderboard", "results", "gallery", "suites", "status"):
        first, second = (pq.read_table(site / f"{name}.parquet") for site in (tiny_run.site, tmp_path / "site"))
        assert second.equals(first), name


@pytest.mark.slow
def test_without_ray_the_default_executor_says_what_to_do(tmp_path: Path) -> None:
    arguments = ("run", command.TINY, "--results", tmp_path / "results", "--site", tmp_path / "site")
    done = bench(*arguments, env=command.without_ray(tmp_path))
    said = command.refusal(done)
    assert said.startswith("Ray cannot be imported (") and "allowed: executor 'local', or pip install" in said


@pytest.mark.ray
@pytest.mark.slow
def test_ray_and_local_processes_give_equal_bits(tmp_path: Path, tiny_run: Run) -> None:
    done = bench("run", command.TINY, "--results", tmp_path / "results", "--site", tmp_path / "site")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert measured(tmp_path / "results") == measured(tiny_run.results)
    boards = [pq.read_table(site / "leaderboard.parquet").to_pylist() for site in (tmp_path / "site", tiny_run.site)]
    for row in boards[0] + boards[1]:
        for name in ("wall_s", "created_utc", "git_commit"):
            del row[name]
    assert boards[0] == boards[1]


@pytest.mark.slow
def test_slots_change_no_number_and_all_is_computed_anew(tmp_path: Path, tiny_run: Run) -> None:
    """`--rerun all`, one trial at a time, over a copy of the results."""
    shutil.copytree(tiny_run.results, tmp_path / "results")
    arguments = (*command.ONE, "--rerun", "all", "--only", "softmax")
    done = bench("run", command.TINY, *arguments, "--results", tmp_path / "results", "--site", tmp_path / "site")
    assert done.returncode == 0 and "26 trials run, 0 there before" in done.stdout, done.stdout + done.stderr
    assert measured(tmp_path / "results") == measured(tiny_run.results)


HOSTILE = "<img src=x onerror=alert(1)>"


def test_a_hostile_name_stays_text_on_every_page(tmp_path: Path, tiny_run: Run) -> None:
    """Names are in no key, so a copy of the results is a finished run of the renamed suite."""
    shutil.copytree(tiny_run.results, tmp_path / "results")
    suite = command.write(tmp_path, command.tiny(("models.1.name", HOSTILE), ("name", f"{HOSTILE} [bold]x[/]")))
    done = call("run", suite, "--results", tmp_path / "results", "--site", tmp_path / "site")
    assert done.exit_code == 0 and "0 trials run, 87 there before" in done.stdout, done.stderr
    assert HOSTILE in done.stdout.replace("\n", "") and "[bold]x[/]" in done.stdout
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 4 and not any("<img" in page.name for page in pages)
    for page in pages:
        text = page.read_text()
        assert "<img src=x" not in text, page
        assert not re.search(r"""(src=|<link[^>]*href=)["']?(https?:)?//""", text), f"{page} asks the network"
    assert any("&lt;img src=x onerror=alert(1)&gt;" in page.read_text() for page in pages)
    assert HOSTILE in (tmp_path / "site" / "leaderboard.csv").read_text()
    found = call("status", "--results", tmp_path / "results")
    assert f"suite {HOSTILE} [bold]x[/]: 87 trials" in found.stdout.replace("\n", "")


def test_damaged_and_foreign_files_are_reported_set_aside_and_computed_again(tmp_path: Path, tiny_run: Run) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny_run.results, results)
    store, said = Store(results), ["trials/mine.txt: foreign"]
    damage = {"predict": ("rows.parquet", 5), "evade": ("trial.json", 0), "embed": ("tensors.safetensors", 100)}
    stages = {store.trial(key).stage["method"]: key for key in store.keys()}
    for stage, (name, size) in damage.items():
        key = stages[stage]
        os.truncate(store.folder(key) / name, size)
        said.append(f"trials/{key[:2]}/{key}: {name}: ")
    (results / "trials" / "mine.txt").write_text("a note")
    arguments = ("run", command.TINY, *command.ONE, "--results", results, "--site", tmp_path / "site")
    done = call(*arguments)
    assert done.exit_code == 0 and done.stdout.count("problem ") == 4, done.stdout
    assert all(f"problem {text}" in done.stdout for text in said)
    assert "3 trials run, 84 there before" in done.stdout
    assert measured(results) == measured(tiny_run.results)
    aside = {path.name for path in (results / "set_aside").rglob("*")}
    assert {"mine.txt", "rows.parquet", "trial.json", "tensors.safetensors", "reason.txt"} <= aside


def test_damage_that_only_the_page_finds_is_set_aside_and_computed_by_the_next_run(
    tmp_path: Path, tiny_run: Run
) -> None:
    """Same size, other bytes: a resume hashes rows alone, the page all that it reads.

    It does not read again what its aggregated rows, which are kept, were made of.
    """
    results = tmp_path / "results"
    shutil.copytree(tiny_run.results, results)
    store = Store(results)
    (plan,) = store.plans()
    shown = {model["name"] for model in plan["about"]["models"]}  # a control's pictures are on no page
    key = next(node["key"] for node in plan["nodes"] if node["stage"] == "leakage" and node["model"] in shown)
    for name in ("samples", "gallery"):
        path = store.folder(key) / f"{name}.parquet"
        path.write_bytes(b"\0" * path.stat().st_size)
    found = call("leaderboard", "--results", results, "--site", tmp_path / "site")
    assert found.exit_code == 1 and f"problem trial {key}: gallery.parquet: its sha256" in found.stdout
    arguments = ("run", command.TINY, *command.ONE, "--results", results, "--site", tmp_path / "site")
    done = call(*arguments)
    assert done.exit_code == 0 and "1 trials run, 86 there before" in done.stdout
    assert measured(results) == measured(tiny_run.results)
