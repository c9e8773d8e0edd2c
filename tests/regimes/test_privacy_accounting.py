"""Epsilons against closed forms and against other accountants."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from benchmark.regimes import privacy_accounting
from benchmark.regimes.privacy_accounting import Sampling, epsilon_under_substitution, noise_for, proven_epsilon
from benchmark.spec import SpecError


def of_gaussian(noise: float, delta: float, distance: float = 1.0) -> float:
    """Exact epsilon of one Gaussian mechanism whose means are `distance` apart (Balle and Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        s, t = distance / (2 * noise), epsilon * noise / distance
        return float(ndtr(s - t) - math.exp(epsilon) * ndtr(-s - t)) - delta

    return float(brentq(excess, 0, 100))


@pytest.mark.slow
def test_all_images_in_every_step_is_one_gaussian_mechanism() -> None:
    """Without sampling, 16 steps of noise 8 are one of noise 2; a substitution moves its mean twice as far."""
    every = Sampling(1.0, 16)
    exact = of_gaussian(2.0, 1e-5)
    assert exact < proven_epsilon(8.0, every, 1e-5, "prv") < exact + 0.05
    assert exact < proven_epsilon(8.0, every, 1e-5, "rdp") < 1.2 * exact
    twice = of_gaussian(2.0, 1e-5, distance=2.0)
    assert twice < epsilon_under_substitution(8.0, every, 1e-5) < 1.4 * twice


def simulated_delta(epsilon: float, noise: float, rate: float, steps: int) -> float:
    """Of telling which of two images of opposite gradients, of norm 1, was among those sampled; by Monte Carlo."""
    rng = np.random.default_rng(0)
    taken = rng.random((200_000, steps)) < rate
    x = noise * rng.normal(size=taken.shape) + taken

    def log_density(mean: float) -> np.ndarray:
        return np.log((1 - rate) * np.exp(-(x**2) / 2 / noise**2) + rate * np.exp(-((x - mean) ** 2) / 2 / noise**2))

    loss = (log_density(1.0) - log_density(-1.0)).sum(1)
    return float(np.maximum(0, 1 - np.exp(epsilon - loss)).mean())


@pytest.mark.slow
def test_a_substitution_costs_no_more_than_is_proven() -> None:
    """Of two images whose gradients are opposite, which tells them apart best: delta at the proven epsilon is less."""
    sampling, delta = Sampling(0.3, 4), 0.02
    proven = epsilon_under_substitution(1.0, sampling, delta)
    assert simulated_delta(proven, 1.0, *sampling) < delta
    alone = proven_epsilon(1.0, sampling, delta, "rdp")
    assert simulated_delta(alone, 1.0, *sampling) > delta, "what is proven of adding one does not hold of substituting"
    assert proven < 4 * alone


@pytest.mark.slow
def test_the_noise_for_an_epsilon_is_the_least() -> None:
    sampling = Sampling(0.05, 200)
    for accountant in ("rdp", "prv"):
        noise = noise_for(3.0, sampling, 1e-5, accountant)  # type: ignore[arg-type]
        assert proven_epsilon(noise, sampling, 1e-5, accountant) <= 3.0  # type: ignore[arg-type]
        assert proven_epsilon(noise / 1.002, sampling, 1e-5, accountant) > 3.0  # type: ignore[arg-type]


@pytest.mark.slow
def test_an_epsilon_out_of_reach_says_which_is_not() -> None:
    sampling = Sampling(0.05, 200)
    with pytest.raises(SpecError, match=r"epsilon: 0.001 cannot be reached in 200 steps .* allowed: 0\.") as refused:
        noise_for(0.001, sampling, 1e-5, "rdp")
    least, most = (float(word) for word in str(refused.value).rpartition("allowed: ")[2].split(" to "))
    for allowed in (least, most):
        assert noise_for(allowed, sampling, 1e-5, "rdp") > 0
    with pytest.raises(SpecError, match="cannot be reached"):
        noise_for(most * 2, sampling, 1e-5, "rdp")


def test_without_opacus_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privacy_accounting.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'robust-or-private\[dp\]'"):
        privacy_accounting.check_installed()
