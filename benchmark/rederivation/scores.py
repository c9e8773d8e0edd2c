"""Membership scores from margins, from the papers: of attacks that a few lines state."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import log_expit
from scipy.stats import norm

from benchmark.rederivation.kept import Arrays

Floats = npt.NDArray[np.float64]
_FEW_MODELS = 64
"""Up to here, the target with them, all images have one variance unless the settings say otherwise."""


class Score(NamedTuple):
    """num_pairs: pairs of shadow models that the attack needs."""

    function: Callable[[Arrays, list[Arrays]], Floats]
    num_pairs: int

    def __call__(self, target: Arrays, shadows: list[Arrays]) -> Floats:
        """(P,), higher = more likely a member. shadows: what the models of other pairs were asked."""
        return self.function(target, shadows)


def score_of(attack: Mapping[str, Any], num_models: int) -> Score | None:
    """attack: its settings. None for an attack, or settings of it with so many models, that are not derived again."""
    if attack["method"] == "loss_threshold":
        return Score(lambda target, _: target["margins"][:, 0], 0)
    if attack["method"] == "adversarial_loss":
        return Score(lambda target, _: target["adversarial"].min(axis=1), 0)
    if attack["method"] == "calibrated_loss":
        return Score(lambda target, shadows: _calibrated(attack, target, shadows), 1)
    if attack["method"] == "lira" and (
        attack["variance"] == "one" or (attack["variance"] == "auto" and num_models <= _FEW_MODELS)
    ):
        return Score(lambda target, shadows: _lira(attack, target, shadows), 2)
    return None


def _lira(attack: Mapping[str, Any], target: Arrays, shadows: list[Arrays]) -> Floats:
    """Likelihood ratio (Carlini et al. 2022) with one variance for all images, summed over queries."""
    x = _margins(attack, target)
    margins = np.stack([_margins(attack, shadow) for shadow in shadows])
    (inside, outside), deviations = _sides(margins, shadows)
    if attack["mode"] == "offline":
        above: Floats = -norm.logsf(x, outside, deviations[1]).sum(axis=1)
        return above
    ratio: Floats = (norm.logpdf(x, inside, deviations[0]) - norm.logpdf(x, outside, deviations[1])).sum(axis=1)
    return ratio


def _calibrated(attack: Mapping[str, Any], target: Arrays, shadows: list[Arrays]) -> Floats:
    """Minus the loss, less the same of models that never saw the image (Watson et al. 2022); mean over queries."""
    given = {"queries": None, **attack}
    usual = log_expit(np.stack([_margins(given, shadow) for shadow in shadows]))
    found: Floats = (log_expit(_margins(given, target)) - _sides(usual, shadows)[0][1]).mean(axis=1)
    return found


def _sides(values: Floats, shadows: list[Arrays]) -> tuple[list[Floats], list[Floats]]:
    """([means (P, Q) inside, outside], [deviations (Q,) around each image's mean]) of values (S, P, Q)."""
    means, deviations = [], []
    for side in ("is_member", "never_seen"):
        there = np.stack([shadow[side] for shadow in shadows])[:, :, None]
        own = np.where(there, values, np.nan)
        count = there.sum(axis=0)
        middle = np.nansum(own, axis=0) / np.where(count > 0, count, np.nan)
        squares = np.nansum((own - middle) ** 2, axis=(0, 1))
        means.append(middle)
        deviations.append(np.sqrt(squares / np.maximum(np.clip(count - 1, 0, None).sum(axis=0), 1)))
    gain = np.nanmean(means[0] - means[1], axis=0)  # for images that no model of one side knows
    typical = [np.nanmean(middle, axis=0) for middle in means]
    inside = _first(means[0], means[1] + gain, typical[0])
    return [inside, _first(means[1], means[0] - gain, typical[1])], deviations


def _margins(attack: Mapping[str, Any], query: Arrays) -> Floats:
    images = query["margins"][:, : attack["queries"]]
    parts = {"images": [images], "adversarial": [query["adversarial"]], "both": [images, query["adversarial"]]}
    return np.concatenate(parts[attack["signal"]], axis=1)


def _first(*choices: Floats) -> Floats:
    """Of each image the first that is known."""
    found = choices[0]
    for other in choices[1:]:
        found = np.where(np.isnan(found), other, found)
    return found
