import pytest

from benchmark.evasion.gradient_masking import AttackAccuracy, masking_reasons

PGD = AttackAccuracy("pgd", "iterated", "linf", 0.1, 250, 500)


def fgsm(num_robust: int, epsilon: float = 0.1, norm: str = "linf") -> AttackAccuracy:
    return AttackAccuracy("fgsm", "one_step", norm, epsilon, num_robust, 500)


def square(num_robust: int) -> AttackAccuracy:
    return AttackAccuracy("square", "black_box", "linf", 0.1, num_robust, 500)


def test_an_ensembles_black_box_part_is_held_against_the_others() -> None:
    """AutoAttack ends with Square: what that fools, others had left standing."""

    def ensemble(alone: int) -> AttackAccuracy:
        return AttackAccuracy("autoattack", "iterated", "linf", 0.1, 250 + alone, 500, alone)

    assert masking_reasons([ensemble(0)]) == masking_reasons([ensemble(3)]) == [], "3 of 500: 0.1% to 1.7%"
    (reason,) = masking_reasons([ensemble(4)])
    assert reason == "the black-box part of autoattack, at linf 0.1 alone fooled 4 of 500 images"
    # A Square by itself is held against the parts that use gradients, and not against a sum with Square in it.
    beaten = masking_reasons([ensemble(100), square(250)])
    assert len(beaten) == 2 and "against autoattack without its black-box part 0.700" in beaten[1]


def test_an_honest_model_is_not_suspected() -> None:
    huge = AttackAccuracy("pgd", "iterated", "linf", 0.5, 2, 500)
    assert masking_reasons([PGD, fgsm(300), square(320)], huge, [0.5, 0.8, 1.2, 1.3]) == []
    assert masking_reasons([]) == []


def test_a_one_step_attack_that_beats_pgd_is_named_with_the_numbers() -> None:
    (reason,) = masking_reasons([PGD, fgsm(150)])
    for part in ("one-step", "linf 0.1", "fgsm 0.300 [0.260, 0.342]", "pgd 0.500 [0.455, 0.545]"):
        assert part in reason


def test_chance_differences_and_other_budgets_are_no_reason() -> None:
    assert masking_reasons([PGD, fgsm(235)]) == []
    assert masking_reasons([PGD, fgsm(150, epsilon=0.2), fgsm(150, norm="l2")]) == []


def test_one_strong_iterated_attack_clears_the_weak_ones() -> None:
    strong = AttackAccuracy("pgd-100", "iterated", "linf", 0.1, 140, 500)
    assert masking_reasons([PGD, fgsm(150), strong]) == []


def test_a_black_box_attack_must_beat_every_white_box_attack() -> None:
    (reason,) = masking_reasons([PGD, square(100)])
    assert "black-box" in reason
    assert "square 0.200" in reason
    assert masking_reasons([fgsm(90), PGD, square(100)])[0].startswith("a one-step attack")
    assert len(masking_reasons([fgsm(90), PGD, square(100)])) == 1


@pytest.mark.parametrize(("num_robust", "suspected"), [(25, False), (60, True)])
def test_accuracy_at_a_huge_epsilon(num_robust: int, suspected: bool) -> None:
    huge = AttackAccuracy("pgd", "iterated", "linf", 0.5, num_robust, 500)
    reasons = masking_reasons([PGD], huge)
    assert bool(reasons) == suspected
    assert all("0.05 at a huge epsilon (linf 0.5): pgd 0.120" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("losses", "suspected"),
    [([0.5, 0.8, 1.5], False), ([0.5, 2.0, 2.0, 2.001], True), ([0.5, 2.0, 1.0], True), ([0.0, 0.0, 0.0], True)],
)
def test_loss_over_steps(losses: list[float], suspected: bool) -> None:
    assert bool(masking_reasons([], losses=losses)) == suspected
