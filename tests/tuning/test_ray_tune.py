"""The search on Ray Tune, with a stage whose best setting is known."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import toy

from benchmark import registry
from benchmark.results.store import Store
from benchmark.running.executors.ray import RayExecutor
from benchmark.search_space import LogUniform
from benchmark.trials.trial import Settings, Trial
from benchmark.tuning.objective import Evaluation
from benchmark.tuning.ray_tune import spend
from benchmark.tuning.search import Candidate, Search, draw
from benchmark.user_files import include

pytestmark = pytest.mark.ray
BEST = 0.3
MODELS = ("first", "second")
SPACE = {"aim": LogUniform(0.003, 30.0)}
SIZES, BUDGET = (2, 8), 8 * 12


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """One Ray for all tests here: it takes seconds to start."""
    include.load(toy.STAGES)
    store = Store(tmp_path_factory.mktemp("tune") / "results")
    store.writable()
    found = Settings(str(store.root), device="cpu", include=(toy.STAGES,))
    with RayExecutor(found, slots=2):
        yield found


def searched(
    settings: Settings,
    calls: Path,
    on_result: Callable[[Candidate, int], None] = lambda candidate, rung: None,
    budget: int = BUDGET,
    **fields: float,
) -> Search:
    calls.mkdir(exist_ok=True)

    def work(candidate: Candidate) -> tuple[Evaluation, ...]:
        aim = candidate.settings.get("aim", 3.0)
        made = []
        for size in SIZES:
            stage = {
                "method": "toy_peak",
                "aim": aim,
                "calls": str(calls),
                "model": candidate.model,
                "size": size,
                **fields,
            }
            made.append(Evaluation((Trial(registry.dump("stage", registry.parse("stage", stage)), 0),), size))
        return tuple(made)

    search = Search(MODELS, SIZES, budget, lambda index: draw(SPACE, 5, index))
    spend(search, work, settings, on_result=on_result)
    return search


def calls_of(folder: Path) -> Counter[str]:
    return Counter(path.name.partition(".")[0] for path in folder.iterdir())


def test_it_finds_the_best_stops_the_poor_and_pays_alike(settings: Settings, tmp_path: Path) -> None:
    search = searched(settings, tmp_path / "calls")
    assert search.spent == dict.fromkeys(MODELS, BUDGET)
    for model in MODELS:
        candidates = search.candidates[model]
        assert all(
            c.merits[0] == pytest.approx(math.exp(-abs(math.log(c.settings.get("aim", 3.0) / BEST))))
            for c in candidates
        )
        best = search.best(model)
        assert abs(math.log(best.settings["aim"] / BEST)) < math.log(2), "its neighborhood, of 4 decades"
        assert best.merits[1] == max(c.merits[0] for c in candidates[: best.index + 1])
        stopped = [c for c in candidates if len(c.merits) == 1]
        assert len(candidates) > 1.5 * BUDGET / SIZES[1], "early stops pay for more candidates than whole evaluations"
        assert len(stopped) > len(candidates) / 2 and best not in stopped
    # What is stopped depends on results alone: models with equal results have equal histories.
    histories = [[(c.settings, c.merits) for c in search.candidates[model]] for model in MODELS]
    assert histories[0] == histories[1]
    assert set(calls_of(tmp_path / "calls").values()) == {1}


def test_what_was_evaluated_is_never_evaluated_again(settings: Settings, tmp_path: Path) -> None:
    """A search that ended early is one with a smaller budget."""
    calls = tmp_path / "calls"
    first = searched(settings, calls, budget=BUDGET // 2)
    before = calls_of(calls)
    search = searched(settings, calls)
    found = calls_of(calls)
    assert 0 < len(before) < len(found) and set(found.values()) == {1}
    assert len(found) == sum(len(c.merits) for candidates in search.candidates.values() for c in candidates)
    for model in MODELS:
        begun, gone_on = first.candidates[model], search.candidates[model]
        assert [c.merits for c in begun[:-3]] == [c.merits for c in gone_on[: len(begun) - 3]]


def test_settings_that_break_the_attack_are_paid_for_and_never_chosen(settings: Settings, tmp_path: Path) -> None:
    search = searched(settings, tmp_path / "calls", most=5.0)
    for model in MODELS:
        broken = [c for c in search.candidates[model] if c.settings.get("aim", 3.0) > 5.0]
        assert broken and all(c.error == "FloatingPointError: the toy broke" and c.merits == {0: -1.0} for c in broken)
        assert search.best(model) not in broken
    assert search.spent == dict.fromkeys(MODELS, BUDGET)
