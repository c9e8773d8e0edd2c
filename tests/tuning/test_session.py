"""What a search attacks, and the suite that it writes."""

from pathlib import Path
from typing import Any

import command
import pytest
from command import call, refusal, tiny

from benchmark.models.classifier import InputInfo
from benchmark.planning.check import prepare
from benchmark.planning.costs import Sizes
from benchmark.planning.plan import Plan, build_plan
from benchmark.planning.suite import load_suite, parse_suite
from benchmark.spec import SpecError
from benchmark.tuning.freeze import freeze
from benchmark.tuning.objective import Score
from benchmark.tuning.search import Candidate
from benchmark.tuning.session import Session, Tuned, choose

SIZES = Sizes(InputInfo(1, 28, 28, 3, (0.3,), (0.3,)), 330, 2970, 300, 120)
GENERATOR = {"method": "generator", "steps": 60, "samples_per_class": 4, "prior": {"method": "dcgan", "steps": 1}}


def planned(*edits: tuple[str, Any]) -> Plan:
    return build_plan(parse_suite(tiny(*edits)), "f" * 64, SIZES)


def session(*edits: tuple[str, Any], label: str | None = None, seed: int = 1) -> Session:
    suite = parse_suite(tiny(*edits))
    return Session(suite, planned(*edits), choose(suite, label), 4, seed)


def everything(made: Session) -> set[str]:
    """Keys of all trials that a search can run, whatever its results."""
    candidates = [Candidate(m, i, {}) for m in made.search.models for i in range(len(made._settings))]
    works = [evaluation for c in candidates for evaluation in (*made.work(c), made.confirmation(c))]
    return {trial.key for work in works for trial in work.trials} | {node.key for node in made.ground.plan.nodes}


@pytest.mark.parametrize("label", ["gradient", "pgd-l2-0.5", "generator"])
def test_no_trial_of_a_search_is_reported_but_the_cut_into_pools(label: str) -> None:
    edits = ("inversion", [{"method": "gradient", "samples_per_class": 4, "steps": 60}, GENERATOR])
    made, reported = session(edits, label=label), {node.key: node for node in planned(edits).nodes}
    assert {reported[key].stage for key in everything(made) & reported.keys()} == {"pools"}
    other = session(edits, label=label, seed=2)
    assert len(everything(made) & everything(other)) == 1, "another seed shares the cut alone"


def test_targets_and_judges_are_trained_on_the_pools_of_the_search() -> None:
    made = session()
    nodes = {node.key: node for node in made.ground.plan.nodes}
    assert [node.stage for node in nodes.values()].count("train") == 2 * 2 + 2
    for targets in made.ground.targets.values():
        assert len({target.model for target in targets}) == 2
        for target in targets:
            assert nodes[target.pools].stage == "tuning_pools"
            assert nodes[target.model].trial.inputs == {"pools": target.pools}
    assert set(made.ground.judges) == {"evaluator", "evaluator_robust"}
    pools = {key for key, node in nodes.items() if node.stage == "tuning_pools"}
    assert {nodes[key].trial.inputs["pools"] for key in made.ground.judges.values()} == pools
    assert nodes[pools.pop()].trial.stage["num_reported"] == 0
    evasion = session(label="pgd-l2-0.5")
    stages = [node.stage for node in evasion.ground.plan.nodes]
    assert sorted(stages) == ["pools", "train", "train", "train", "train", "tuning_pools"], "it needs no judges"
    assert evasion.ground.plan.nodes[1].trial.stage["num_reported"] == 100


def found(made: Session, **settings: Any) -> list[Tuned]:
    before, after = Score(0.25, 0.1, 0.5, 0.0, 12), Score(0.5, 0.2, 0.8, 0.0, 12)
    return [
        Tuned("softmax", settings, before, after, {1: 8, 4: 2}, 0),
        Tuned("hardened", {}, before, before, {1: 8, 4: 2}, 0),
    ]


def test_the_frozen_suite_is_the_suite_with_one_model_attacked_otherwise(tmp_path: Path) -> None:
    source = tmp_path / "tiny.yaml"
    source.write_text(command.TINY.read_text() + "# the last line of mine\n")
    made = session()
    written = freeze(tmp_path / "frozen.yaml", source, made, found(made, step_size=0.25, objective="logit"))
    text = (tmp_path / "frozen.yaml").read_text()
    assert "# Every stage and every control in about ten seconds" in text and "# the last line of mine" in text
    assert "#   softmax: 0.250 (0.10-0.50) -> 0.500 (0.20-0.80)\n" in text and ", the suite's are kept\n" in text
    assert f"suite tiny ({made.suite.hash[:16]})" in text and "at the most 2880\n" in text  # 16 x 3 classes x 60 steps
    assert written.name == "frozen" and load_suite(str(tmp_path / "frozen.yaml"))[0].hash == written.hash
    files = (source, tmp_path / "frozen.yaml")
    before, after = (
        {(n.stage, n.method, n.model, n.replica): n for n in prepare(str(file), None, ()).plan.nodes} for file in files
    )
    assert before.keys() == after.keys(), "the page has the same places"
    changed = {place for place in before if before[place].key != after[place].key}
    stages = ("invert", "neighbours", "leakage")
    assert changed == {(stage, "gradient", "softmax", replica) for stage in stages for replica in (0, 1)}
    attack = after["invert", "gradient", "softmax", 0].trial.stage["attack"]
    assert (attack["step_size"], attack["objective"], attack["steps"]) == (0.25, "logit", 60)


def test_a_suite_in_a_layout_of_its_own_is_frozen_without_its_comments(tmp_path: Path) -> None:
    import json

    source = tmp_path / "flow.yaml"
    source.write_text(json.dumps(tiny()))
    made = session()
    written = freeze(tmp_path / "flow-tuned.yaml", source, made, found(made, step_size=0.25))
    assert written.tuned == {"gradient": {"softmax": {"step_size": 0.25}}}
    again = freeze(tmp_path / "again.yaml", tmp_path / "flow-tuned.yaml", made, found(made, step_size=0.5))
    assert again.tuned == {"gradient": {"softmax": {"step_size": 0.5}}}, "tuned anew"
    kept = freeze(tmp_path / "kept.yaml", source, made, found(made))
    assert kept.tuned == {} and kept.model_copy(update={"name": "tiny"}).hash == made.suite.hash


TUNED: list[tuple[Any, str]] = [
    ({"gradeint": {}}, "tuned: 'gradeint' is no attack of the suite (did you mean 'gradient'?); allowed: "),
    ({"gradient": {"sotfmax": {}}}, "tuned.gradient: 'sotfmax' is no model of the suite (did you mean 'softmax'?)"),
    ({"gradient": {"softmax": {"stepsize": 1}}}, "tuned.gradient.softmax: unknown key 'stepsize' (did you mean"),
    ({"gradient": {"softmax": {"steps": 90}}}, "tuned.gradient.softmax: {'steps': 90} changes passes from 60 to 90"),
    ({"gradient": {"softmax": {"step": "adam"}}}, "tuned.gradient.softmax: {'step': 'adam'} changes label from"),
    ({"gradient": {"softmax": {"samples_per_class": 9}}}, "tuned.gradient.softmax: {'samples_per_class': 9} changes"),
    ({"pgd-l2-0.5": {"softmax": {"epsilon": 1}}}, "tuned.pgd-l2-0.5.softmax: {'epsilon': 1} changes label from"),
    ({"gradient": {"softmax": {"step_size": -1}}}, "tuned.gradient.softmax.step_size: -1 is not allowed"),
    (["gradient"], "tuned: ['gradient'] is not allowed"),
]


@pytest.mark.parametrize(("tuned", "said"), TUNED, ids=lambda value: str(value)[:40])
def test_a_mistake_in_tuned_settings(tuned: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_suite({**tiny(), "tuned": tuned})
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


CALLS: list[tuple[list[str], str]] = [
    ([], "Missing option '--out'."),
    (["--out", "new.yaml", "--attack", "gradeint"], "--attack: 'gradeint' is no attack of the suite (did you mean"),
    (["--out", "new.yaml", "--attack", "fgsm-l2-0.5"], "--attack: 'fgsm-l2-0.5' has no settings to search; allowed: "),
    (["--out", "new.yaml", "--seed", "0"], "--seed: 0 is the suite's own, whose models are reported; allowed: any"),
    (["--out", "new.yaml", "--budget", "1"], "Invalid value for '--budget': 1 is not in the range 2<=x<=10000."),
    (["--out", "new.txt"], "--out: 'new.txt' is no suite file; allowed: a name that ends in .yaml"),
    (["--out", str(command.TINY)], f"--out: '{command.TINY}' is the suite itself; allowed: another file"),
    (["--out", "absent/new.yaml"], "--out: 'absent/new.yaml' cannot be written; allowed: a file in a folder that"),
]


@pytest.mark.parametrize(("arguments", "said"), CALLS, ids=[" ".join(a)[:40] for a, _ in CALLS])
def test_a_mistake_in_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(call("tune", command.TINY, *arguments)).startswith(said)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
