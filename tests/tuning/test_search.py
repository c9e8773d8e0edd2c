"""Where the settings come from, and that every model pays the same for them."""

import random
from collections import Counter

import pytest
import torch

from benchmark import registry
from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.planning.suite import with_settings
from benchmark.search_space import Choice, LogUniform, around
from benchmark.tuning.search import Candidate, Search, draw, rungs

ATTACKS = [
    ("evasion", {"method": "pgd", "epsilon": 0.1}),
    ("evasion", {"method": "pgd", "epsilon": 0.1, "restarts": 3}),
    ("inversion", {"method": "gradient"}),
    ("inversion", {"method": "gradient", "step": "adam", "start": "class_gaussian"}),
    ("inversion", {"method": "multiscale"}),
    ("inversion", {"method": "multiscale", "steps": 3}),
    ("inversion", {"method": "deepinversion"}),
    ("inversion", {"method": "mi_face"}),
    ("inversion", {"method": "generator"}),
    ("inversion", {"method": "generator", "steps": 5, "candidates": 1}),
]


def test_quantiles_by_hand() -> None:
    wide = LogUniform(0.01, 100.0)
    assert [wide.at(u) for u in (0.0, 0.25, 0.5, 0.75)] == [0.01, 0.1, 1.0, 10.0]
    assert around(0.5) == LogUniform(0.05, 5.0)
    assert wide.at(0.123456) == 0.0312, "three digits: 0.01 * 10**(4 * 0.123456) is 0.031177"
    letters = Choice(("a", "b", "c"))
    assert [letters.at(u) for u in (0.0, 0.33, 0.34, 0.66, 0.67, 0.999999)] == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize(("kind", "written"), ATTACKS, ids=lambda value: str(value)[:60])
def test_whatever_is_drawn_is_the_same_attack_with_the_same_budget(kind: str, written: dict[str, object]) -> None:
    attack = registry.parse(kind, written)
    assert isinstance(attack, Evasion | Inversion) and attack.search_space
    drawn = [draw(attack.search_space, 0, index) for index in range(200)]
    assert drawn[0] == {}, "the suite's own settings come first"
    changed = [with_settings(attack, settings) for settings in drawn]  # raises where budget or label would change
    assert {spec.passes for spec in changed} == {attack.passes}
    for name in attack.search_space:
        assert len({settings[name] for settings in drawn[1:]}) > 1, f"{name} is not searched"


def test_attacks_without_settings_have_nothing_to_search() -> None:
    for kind, written in (
        ("evasion", {"method": "fgsm", "epsilon": 1.0}),
        ("inversion", {"method": "injected", "what": "members"}),
    ):
        attack = registry.parse(kind, written)
        assert isinstance(attack, Evasion | Inversion) and not attack.search_space


def test_draws_follow_from_the_seed_alone() -> None:
    space = {"a": LogUniform(1.0, 10.0), "b": Choice(tuple(range(100)))}
    before = torch.get_rng_state()
    first = [draw(space, 1, index) for index in range(20)]
    assert torch.equal(torch.get_rng_state(), before), "no global randomness"
    assert first == [draw(space, 1, index) for index in range(20)]
    assert [draw(space, 1, index) for index in range(50)][:20] == first, "a larger budget begins with the same"
    assert first[1:] != [draw(space, 2, index) for index in range(1, 20)]


def test_the_first_rung_divides_the_whole() -> None:
    assert [rungs(size) for size in (1, 2, 3, 4, 7, 8, 9, 10, 500)] == [
        (1,), (1, 2), (1, 3), (1, 4), (1, 7), (2, 8), (1, 9), (2, 10), (125, 500),
    ]  # fmt: skip


@pytest.mark.parametrize("whole", [1, 6, 8, 9])
@pytest.mark.parametrize("budget", [2, 3, 16])
def test_every_model_spends_the_same_to_the_last_sample_however_its_candidates_end(whole: int, budget: int) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        search = Search(("a", "b", "c"), rungs(whole), whole * budget, lambda index: {"index": index})
        running: list[Candidate] = []
        while not search.is_spent:
            while (candidate := search.take()) is not None:
                running.append(candidate)
            assert len({c.model for c in running}) == len(running), "one at a time for each model"
            candidate = chance.choice(running)
            search.record(candidate, len(candidate.merits), chance.random(), "broke" if chance.random() < 0.1 else "")
            candidate.stopped = candidate.index > 0 and chance.random() < 0.6
            if not search.goes_on(candidate):
                running.remove(candidate)
                search.release(candidate)
        search.check_equal()
        for model, candidates in search.candidates.items():
            paid = sum(search.sizes[rung] for c in candidates for rung in c.merits)
            assert paid == search.spent[model] == whole * budget
            assert [c.index for c in candidates] == list(range(len(candidates)))


def test_a_lost_workers_second_report_is_not_paid_again() -> None:
    search = Search(("a",), (2, 8), 16, lambda index: {})
    candidate = search.take()
    assert candidate is not None
    for _ in range(3):
        search.record(candidate, 0, 0.5)
    assert search.spent == {"a": 2}


def test_the_best_is_whole_and_the_first_of_equals() -> None:
    search = Search(("a",), (2, 8), 32, lambda index: {})
    merits = [
        ({0: 0.9, 1: 0.5}, ""),
        ({0: 1.0}, ""),
        ({0: 0.5, 1: 0.7}, ""),
        ({0: 0.5, 1: 0.7}, ""),
        ({0: 1.0, 1: -1.0}, "broke"),
    ]
    search.candidates["a"] = [Candidate("a", i, {}, dict(m), error) for i, (m, error) in enumerate(merits)]
    assert search.best("a").index == 2
    search.candidates["a"] = [Candidate("a", 0, {}, {0: -1.0}, "ValueError: no")]
    with pytest.raises(ValueError, match="'a': the attack fails with the suite's own settings: ValueError: no"):
        search.best("a")
    assert Counter(search.spent) == {"a": 0}
