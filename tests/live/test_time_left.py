"""Time left and the bill at the end, worked out by hand."""

import pytest

from benchmark.live import planned
from benchmark.live.time_left import Measured, Work, forecast, of_plan
from benchmark.planning.costs import ASSUMED_GPU_FLOPS
from benchmark.planning.prices import Prices


def made(wall_s: float, gpus: float = 0.0) -> dict[str, object]:
    return {"wall_s": wall_s, "gpus": gpus, "gpu_s": wall_s if gpus else 0.0, "threads": 1, "device": "abacus"}


def train(key: str, cost: float, *parents: str) -> Work:
    return Work(key, "train", "", cost, parents)


def evade(key: str, cost: float, *parents: str, method: str = "pgd") -> Work:
    return Work(key, "evade", method, cost, parents)


@pytest.fixture
def measured() -> Measured:
    """train: 40 s for 4e12 operations; evade pgd: 10 s for 5e12, evade fgsm: 30 s for 5e12."""
    found = Measured(Prices.parse({"currency": "USD", "gpu_hour": 36.0, "core_hour": 3.6}))
    found.add(train("a", 1e12), made(10.0, 0.5))
    found.add(train("b", 3e12), made(30.0, 0.5))
    found.add(evade("c", 5e12), made(10.0))
    found.add(evade("d", 5e12, method="fgsm"), made(30.0))
    return found


def test_each_kind_has_a_rate_of_its_own(measured: Measured) -> None:
    assert measured.seconds(train("x", 2e12)) == pytest.approx(20.0)
    assert measured.seconds(evade("x", 1e12)) == pytest.approx(2.0)
    assert measured.seconds(evade("x", 1e12, method="fgsm")) == pytest.approx(6.0)
    assert measured.seconds(evade("x", 1e12, method="other")) == pytest.approx(4.0)  # as its stage: 40 s for 1e13
    assert measured.seconds(Work("x", "invert", "", 7e12)) == pytest.approx(40.0)  # as all: 80 s for 1.4e13


def test_where_nothing_was_measured_a_gpu_is_assumed() -> None:
    found = forecast([train("x", 3 * ASSUMED_GPU_FLOPS)], Measured(), 1)
    assert found.seconds == pytest.approx(3.0) and not found.measured


def test_trials_of_no_operations_take_what_their_kind_takes() -> None:
    found = Measured()
    for seconds in (1.0, 2.0, 6.0):
        found.add(Work("x", "infer_membership", "loss_threshold", 0.0), made(seconds))
    assert found.seconds(Work("y", "infer_membership", "loss_threshold", 0.0)) == pytest.approx(3.0)


def test_the_slots_share_the_work_but_not_a_chain(measured: Measured) -> None:
    wide = [train(f"t{i}", 1e12) for i in range(8)]  # 10 s each
    assert forecast(wide, measured, 1).seconds == pytest.approx(80.0)
    assert forecast(wide, measured, 4).seconds == pytest.approx(20.0)
    assert forecast(wide, measured, 100).seconds == pytest.approx(10.0)  # no faster than one of them
    chain = [train("p", 1e12), evade("q", 5e12, "p"), evade("r", 5e12, "q", "done before")]
    found = forecast([*chain, *wide], measured, 4)
    assert (found.work_s, found.chain_s) == (pytest.approx(110.0), pytest.approx(30.0))
    assert found.seconds == pytest.approx(30.0) and forecast([*chain, *wide], measured, 2).seconds == pytest.approx(55)


def test_what_a_running_trial_has_done_is_not_left(measured: Measured) -> None:
    left = [train("p", 1e12), evade("q", 5e12, "p")]
    assert forecast(left, measured, 2, {"p": 4.0}).seconds == pytest.approx(16.0)
    assert forecast(left, measured, 2, {"p": 400.0}).seconds == pytest.approx(10.0)


def test_nothing_left_takes_no_time(measured: Measured) -> None:
    assert forecast([], measured, 4).seconds == 0.0


def test_the_bill_at_the_end(measured: Measured) -> None:
    # So far: 40 s with half a GPU at 36 an hour, 40 s of a core at 3.6 an hour.
    assert measured.bill.money == pytest.approx(0.2 + 0.04)
    left = forecast([train("x", 2e12), evade("y", 5e12), Work("z", "invert", "", 7e12)], measured, 3)
    # 20 s more as train: 0.1; 10 s as evade: 0.01; 40 s as all so far, 80 s for 0.24: 0.12
    whole = measured.expected(left)
    assert whole.money == pytest.approx(0.24 + 0.1 + 0.01 + 0.12)
    # 20 + 10 + half of 40 s with half a GPU
    assert whole.gpu_hours == pytest.approx((20 + 10 + 10) / 3600)
    assert measured.bill.money == pytest.approx(0.24)


def test_a_plan_tells_the_same_from_some_of_the_trials_that_are_done() -> None:
    import toy

    plan = toy.diamonds(6)
    works = of_plan(plan.nodes)
    done = [work for i, work in enumerate(works) if i % 4]
    # Every trial of a stage at the same rate, each stage at its own.
    rates = {stage: 1e7 * (i + 1) for i, stage in enumerate(dict.fromkeys(work.stage for work in works))}
    made = {work.key: {"wall_s": work.operations / rates[work.stage], "threads": 1} for work in done}
    first = {work.stage: work.key for work in done}
    *_, rate, money = planned(plan, made.keys(), made)
    *_, some_rate, some_money = planned(plan, made.keys(), {key: made[key] for key in first.values()})
    assert len(first) < len(done) and str(rate).endswith(f"; at the rates of the {len(done)} trials done")
    assert str(some_rate) == str(rate).replace("the rates of the", f"the rates of {len(first)} of the")
    assert str(some_money) == str(money).replace("spent: ", "spent: about ") and "about" not in str(money).split(";")[0]


def test_a_plan_counts_each_trial_once() -> None:
    import toy

    plan = toy.diamonds(2)
    works = of_plan([*plan.nodes, *plan.nodes])
    assert [work.key for work in works] == [node.key for node in plan.nodes]
    assert works[1].parents == (plan.nodes[0].key,)
