"""What a training with noise proves: Opacus's accountants, and the same guarantee where an image is substituted.

Opacus counts in **add-or-remove**: two data sets are neighbors if one has one image more. An audit by matched pairs
counts in **substitution**: they are neighbors if one image differs. A substitution is a removal and an addition:
without delta, twice the epsilon; with it, `epsilon_under_substitution`, at the same delta.
"""

import functools
import importlib.util
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np

from benchmark.spec import SpecError

AccountantName = Literal["rdp", "prv"]
LEAST_NOISE, MOST_NOISE = 0.2, 1000.0
"""Noise multipliers among which one for a target epsilon is sought."""
_LARGEST_ORDER = 128
_PRECISION = 1e-3
"""Of the noise multiplier that is found, relative."""


class Sampling(NamedTuple):
    """Each step draws each image by itself with probability `rate` (Poisson sampling)."""

    rate: float
    steps: int


def check_installed() -> None:
    """Raise SpecError, in one line, where Opacus is missing."""
    if importlib.util.find_spec("opacus") is None:
        raise SpecError("dp_sgd needs Opacus, which is not installed; pip install 'robust-or-private[dp]'")


@functools.lru_cache(maxsize=1000)
def proven_epsilon(noise: float, sampling: Sampling, delta: float, accountant: AccountantName) -> float:
    """Epsilon at `delta`, add-or-remove, of steps that add noise of `noise` times the clipping norm to a sum.

    rdp: Renyi divergences (Mironov, Talwar and Zhang 2019, arXiv 1908.10530). prv: privacy loss distributions (Gopi,
    Lee and Wutschitz 2021, arXiv 2106.02848), the upper end of its error.
    """
    from opacus.accountants import create_accountant

    counted = create_accountant(mechanism=accountant)
    counted.history = [(noise, sampling.rate, sampling.steps)]
    with _at_the_ends(), np.errstate(divide="ignore"):  # prv takes logarithms of chances that are 0 at its range's end
        return float(counted.get_epsilon(delta=delta))


@functools.lru_cache(maxsize=1000)
def noise_for(epsilon: float, sampling: Sampling, delta: float, accountant: AccountantName) -> float:
    """The least noise multiplier, up to 0.1%, that proves `epsilon`. Raises SpecError where none does."""
    low, high = LEAST_NOISE, MOST_NOISE
    smallest, largest = (proven_epsilon(noise, sampling, delta, accountant) for noise in (high, low))
    if not smallest <= epsilon <= largest:
        raise SpecError(
            f"{epsilon:g} cannot be reached in {sampling.steps} steps of {sampling.rate:.3g} of the images at delta "
            f"{delta:.3g}; allowed: {_up(smallest):g} to {_down(largest):g}",
            ("epsilon",),
        )
    while high / low > 1 + _PRECISION:
        middle = math.sqrt(low * high)
        if proven_epsilon(middle, sampling, delta, accountant) <= epsilon:
            high = middle
        else:
            low = middle
    return high


@functools.lru_cache(maxsize=1000)
def epsilon_under_substitution(noise: float, sampling: Sampling, delta: float) -> float:
    """Epsilon at `delta` where one image is another, by way of the data set that has neither.

    D_a(P, R) <= (a - 1/2) / (a - 1) D_2a(P, Q) + D_(2a - 1)(Q, R) of Renyi divergences (Mironov 2017, arXiv 1702.07476,
    corollary 4), with Opacus's D of adding or removing one image, at whole 2a.
    """
    from opacus.accountants.analysis import rdp

    twice = range(3, _LARGEST_ORDER + 1)
    of_one = rdp.compute_rdp(
        q=sampling.rate, noise_multiplier=noise, steps=sampling.steps, orders=[float(n) for n in (2, *twice)]
    )
    orders = [n / 2 for n in twice]
    of_both = [
        (a - 0.5) / (a - 1) * first + second for a, first, second in zip(orders, of_one[1:], of_one[:-1], strict=True)
    ]
    with _at_the_ends():
        return float(rdp.get_privacy_spent(orders=orders, rdp=of_both, delta=delta)[0])


@contextmanager
def _at_the_ends() -> Iterator[None]:
    """There the best order of a list need not be the best of all; what it proves holds, and Opacus warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Optimal order is the", UserWarning)
        yield


def _up(value: float) -> float:
    """To three digits, so that what a message names is allowed."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step) * step


def _down(value: float) -> float:
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.floor(value / step) * step
