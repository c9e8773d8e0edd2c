"""Looks for signs of gradient masking: robust accuracy that only misled attacks report (Athalye et al. 2018)."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from benchmark.stats import Interval, clopper_pearson

HUGE_EPSILON_ACCURACY = 0.05
"""Accuracy that must not be exceeded at an epsilon that lets the attack draw any image."""
ONLY_BLACK_BOX = 0.002
"""Share of the images that only the black-box part of an ensemble may fool: what AutoAttack's authors warn from."""
PROBED_SHARE = 0.01
"""Of test images, that may behave as a masking model's do before it is suspected: a dead unit, a lost tie."""
PROBES = {
    "randomised_outputs": "outputs are random: two passes of one image differ",
    "probability_outputs": "outputs are probabilities in place of logits",
    "zero_gradients": "gradients are 0 in every pixel",
}
"""What the stage `probe` looks for, in words."""
MIN_LOSS_RISE = 0.01
"""Relative rise of the loss from the first step to the last below which more steps are of no use."""


class AttackAccuracy(NamedTuple):
    """num_robust of num_images stayed right under an attack. kind says what the attack may use.

    only_black_box: images that the black-box part of an ensemble fooled after the others had failed; they count among
    num_robust, which then is of the parts that use gradients. None: no ensemble with such a part.
    """

    name: str
    kind: Literal["one_step", "iterated", "black_box"]
    norm: str
    epsilon: float
    num_robust: int
    num_images: int
    only_black_box: int | None = None

    @property
    def interval(self) -> Interval:
        return clopper_pearson(self.num_robust, self.num_images)

    def __str__(self) -> str:
        rate = self.interval
        part = "" if self.only_black_box is None else " without its black-box part"
        return f"{self.name}{part} {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}]"


def masking_reasons(
    attacks: Sequence[AttackAccuracy],
    huge: AttackAccuracy | None = None,
    losses: Sequence[float] | None = None,
    probes: Mapping[str, tuple[int, int]] = MappingProxyType({}),
) -> list[str]:
    """Sentences with the numbers, one for each sign of masking; empty: not suspected.

    attacks: compared at equal norm and epsilon. An attack beats another where the Clopper-Pearson interval
    of the accuracy it leaves lies wholly below; the attacks share their images, so this calls less than it
    could and has few false alarms. Of an ensemble that ends with a black-box part, that one beats the others where the
    whole interval of the share that it alone fooled is above 0.2%. huge: a white-box attack at an epsilon that
    reaches every image (linf 0.5 turns any image grey); suspected where its whole interval is above 0.05. losses: mean
    loss of an iterated white-box attack after 0, 1, ..., T steps, T >= 2, on the same images throughout; suspected
    where the last is not more than 1% above that after one step. probes: what of `PROBES` was found -> (at how many
    images, of how many); suspected where the whole interval is above 1%.
    """
    reasons = list(_beaten(attacks))
    for name, (found, of) in probes.items():
        if of and clopper_pearson(found, of).low > PROBED_SHARE:
            reasons.append(f"{PROBES[name]}, at {found} of {of} images")
    if huge is not None and huge.interval.low > HUGE_EPSILON_ACCURACY:
        reasons.append(
            f"accuracy stays above {HUGE_EPSILON_ACCURACY} at a huge epsilon ({huge.norm} {huge.epsilon:.4g}): {huge}"
        )
    if losses is not None:
        assert len(losses) >= 3, f"{len(losses)} losses; expected those after 0, 1 and at least 2 steps"
        first, last = losses[1], losses[-1]
        if last - first <= MIN_LOSS_RISE * abs(first):
            reasons.append(f"more steps do not raise the loss: {first:.4g} after 1, {last:.4g} after {len(losses) - 1}")
    return reasons


def _beaten(attacks: Sequence[AttackAccuracy]) -> Iterator[str]:
    """A sentence for each one-step and black-box attack that beats the white-box attacks it should not."""
    for attack in attacks:
        alone = attack.only_black_box
        if alone and clopper_pearson(alone, attack.num_images).low > ONLY_BLACK_BOX:
            where = f"{attack.name}, at {attack.norm} {attack.epsilon:.4g}"
            yield f"the black-box part of {where} alone fooled {alone} of {attack.num_images} images"
        if attack.kind == "iterated":
            continue
        allowed = ("iterated",) if attack.kind == "one_step" else ("iterated", "one_step")
        stronger = [
            other
            for other in attacks
            if other.kind in allowed and (other.norm, other.epsilon) == (attack.norm, attack.epsilon)
        ]
        if not stronger:
            continue
        best = min(stronger, key=lambda other: other.interval.value)
        if attack.interval.high < best.interval.low:
            kind = "a one-step attack" if attack.kind == "one_step" else "a black-box attack"
            rival = "iterated" if attack.kind == "one_step" else "white-box"
            yield f"{kind} beats the {rival} ones at {attack.norm} {attack.epsilon:.4g}: {attack} against {best}"
