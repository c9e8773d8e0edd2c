"""What is started next: the most urgent trial of each kind, so that neither kind keeps the other waiting."""

from pathlib import Path

import toy

from benchmark.results.store import Store
from benchmark.running.run import run
from benchmark.trials.trial import Settings, Trial


class TwoKinds(toy.Inline):
    """Room for one trial of each stage; nothing else waits."""

    def wants(self, trial: Trial) -> bool:
        return all(trial.stage["method"] != other.stage["method"] for other in self._queue)


def test_a_kind_that_is_full_does_not_hold_up_the_other(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    urgent = [toy.node("add", seed=seed, cost=100.0 - seed) for seed in range(4)]
    other = [toy.node("worker", seed=seed, cost=1.0) for seed in range(4)]
    used: list[TwoKinds] = []

    def start(settings: Settings) -> TwoKinds:
        used.append(TwoKinds(settings))
        return used[-1]

    report = run(toy.plan(*other, *urgent), store, start, toy.settings(store))
    assert report.num_done == 8
    started = used[0].started
    assert started[:2] == [urgent[0].key, other[0].key]
    assert [key for key in started if key in {node.key for node in urgent}] == [node.key for node in urgent]
