"""What a run does with a trial whose process, machine or memory was lost."""

from pathlib import Path

import toy

from benchmark.planning.plan import Plan
from benchmark.results.store import Store
from benchmark.running.executors import USUAL, Finished, Loss, Room
from benchmark.running.retries import RETRIES, batch_sizes
from benchmark.running.run import run
from benchmark.running.schedule import Event, Report
from benchmark.trials.trial import Settings, Trial


class Losing(toy.Inline):
    """Loses trials by their seed, in the given order of causes; notes the room that each attempt had."""

    def __init__(self, settings: Settings, losses: dict[int, list[Loss]]) -> None:
        super().__init__(settings)
        self.losses = {seed: list(causes) for seed, causes in losses.items()}
        self.rooms: list[Room] = []

    def submit(self, trial: Trial, room: Room = USUAL) -> None:
        self.rooms.append(room)
        super().submit(trial, room)

    def wait(self, timeout: float | None = None) -> list[Finished]:
        trial = self._queue[0]
        if self.losses.get(trial.seed):
            self._queue.popleft()
            return [Finished(trial.key, error="Traceback ...\nlost\n", loss=self.losses[trial.seed].pop(0))]
        return super().wait(timeout)


def lost(tmp_path: Path, plan: Plan, losses: dict[int, list[Loss]]) -> tuple[Report, Losing, list[Event], Store]:
    store, events, used = Store(tmp_path / "results"), list[Event](), list[Losing]()

    def start(settings: Settings) -> Losing:
        used.append(Losing(settings, losses))
        return used[-1]

    report = run(plan, store, start, toy.settings(store), on_event=events.append)
    return report, used[0], events, store


def test_a_lost_machine_is_not_the_trials_fault(tmp_path: Path) -> None:
    plan = toy.plan(toy.node("add"), toy.node("add", seed=1))
    report, _, events, _ = lost(tmp_path, plan, {0: ["node"] * 20 + ["worker"] * 2, 1: ["node"] * 3})
    assert (report.num_done, report.num_failed) == (2, 0)
    assert [event.kind for event in events].count("retried") == 25


def test_every_kind_of_loss_has_its_bound(tmp_path: Path) -> None:
    plan = toy.plan(*(toy.node("add", seed=seed) for seed in range(6)))
    causes: list[Loss] = ["worker", "node", "memory", "gpu_memory", "exit"]
    losses = {seed: [cause] * (RETRIES[cause] + 1) for seed, cause in enumerate(causes)}
    report, _, _, store = lost(tmp_path, plan, losses)
    assert (report.num_done, report.num_failed) == (1, 5)
    found = {failure["replica"]: failure["attempts"] for failure in store.failures().values()}
    assert found == {seed: RETRIES[cause] + 1 for seed, cause in enumerate(causes)} == {0: 3, 1: 21, 2: 5, 3: 2, 4: 1}


def test_who_ran_out_of_memory_gets_more_room(tmp_path: Path) -> None:
    report, executor, _, _ = lost(tmp_path, toy.plan(toy.node("add")), {0: ["memory", "gpu_memory", "node", "memory"]})
    assert report.num_done == 1
    assert executor.rooms == [USUAL, Room(False, 2), Room(True, 2), Room(True, 2), Room(True, 4)]


def test_who_does_not_fit_on_a_whole_gpu_is_told_what_to_lower(tmp_path: Path) -> None:
    plan = toy.plan(toy.node("batch", batch_size=512))
    report, _, _, store = lost(tmp_path, plan, {0: ["gpu_memory"] * 2})
    assert report.num_failed == 1
    ((_, failure),) = store.failures().items()
    assert failure["traceback"].splitlines()[-1] == (
        "toy_batch model 0 0 ran out of GPU memory, with a GPU of its own: lower batch_size (now 512), "
        "or use a GPU with more memory"
    )
    stage = {"method": "evade", "batch_size": 9, "attack": {"batch_size": 250, "prior": {"batch_size": 64}}}
    assert dict(batch_sizes(stage)) == {"batch_size": 9, "attack.batch_size": 250, "attack.prior.batch_size": 64}
