"""How often the intervals cover, simulated for the replicas, classes and samples that the suites use.

`python perf/coverage.py` writes its table into docs/METRICS.md. In the simulated world every replica has its own effect
(standard deviation `trained`), replicas 2j and 2j + 1 have opposite effects in every class (`cut`, since one's members
are the other's non-members), and classes have effects that all replicas share. Nominal coverage is 95%.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmark import stats
from benchmark.stats import Interval, Scored

Rng = np.random.Generator
Floats = npt.NDArray[np.float64]

PAGE = Path(__file__).parents[1] / "docs" / "METRICS.md"
BEGIN, END = "<!-- coverage: written by perf/coverage.py -->", "<!-- end of the coverage -->"
REPLICAS, SAMPLES, CLASSES, IMAGES = (2, 4, 8, 16), (8, 12, 32), 10, 400
CLASS, CUT, TRAINED = 0.1, 0.1, 0.05
RATES = {0.05: (IMAGES, 1000), 0.01: (2000, 1000), 0.001: (8000, 300)}
"""False-positive rate -> (private images, half of them non-members of a replica, as many as a suite has for it; most
simulations).
"""


def shares(rng: Rng, replicas: int, samples: int, trained: float = TRAINED) -> Floats:
    """Indicators (replicas, classes, samples) of a world whose true share is 0.5."""
    sign = np.resize([1.0, -1.0], replicas)[:, None, None]
    cut = rng.normal(0, CUT, (replicas // 2, CLASSES, 1)).repeat(2, axis=0) * sign
    effects = rng.normal(0, CLASS, (1, CLASSES, 1)) + cut + rng.normal(0, trained, (replicas, 1, 1))
    return np.asarray(rng.random((replicas, CLASSES, samples)) < 0.5 + effects, dtype=np.float64)


def scored(rng: Rng, replicas: int, trained: float, num: int = IMAGES) -> list[Scored]:
    """Membership scores: images that all replicas share, half of them members, by complements; true boost 0.5."""
    images, found = rng.normal(0, 1, num), []
    for pair in range(replicas // 2):
        first = rng.permutation(num) < num // 2
        boost = rng.normal(0.5, trained)
        for side in (first, ~first):
            scores = images + boost * side + rng.normal(0, 0.5, num)
            found.append(Scored(scores, side, np.arange(num), pair))
    return found


def measured(draw: Callable[[Rng], Interval], truth: float, trials: int) -> tuple[float, float]:
    """(share of intervals that cover, their median width)."""
    found = [draw(np.random.default_rng(seed)) for seed in range(trials)]
    covered = float(np.mean([i.low <= truth <= i.high for i in found]))
    return covered, float(np.median([i.high - i.low for i in found]))


def cell(draw: Callable[[Rng], Interval], truth: float, trials: int) -> str:
    """Of the table; "not resolved" where this many non-members do not give the rate."""
    try:
        covered, width = measured(draw, truth, trials)
    except ValueError:
        return "not resolved"
    return f"{covered:.1%} ({width:.{2 if width >= 0.02 else 3}f})"


def auc_truth(trained: float) -> float:
    spread = np.sqrt(2 * (1 + 0.25) + trained**2)
    return float(norm.cdf(0.5 / spread))


def tpr_truth(fpr: float, trained: float = 0.0) -> float:
    spread = np.sqrt(1 + 0.25 + trained**2)
    return float(norm.sf((norm.isf(fpr) * np.sqrt(1 + 0.25) - 0.5) / spread))


def paired_gap(rng: Rng, replicas: int, trained: float) -> Interval:
    """Images are right more often where they were trained on, by 0.1 in the mean."""
    easy, values = rng.random(IMAGES) * 0.8, []
    for _ in range(replicas // 2):
        gap = rng.normal(0.1, trained)
        values.append((rng.random(IMAGES) < easy + gap) - (rng.random(IMAGES) < easy).astype(float))
    return stats.paired_images(values, [np.arange(IMAGES)] * len(values)).interval()


def accuracy(rng: Rng, replicas: int, trained: float) -> Interval:
    """Of replicas that share 400 test images, each of which has its own difficulty; 0.5 in the mean."""
    easy = rng.random(IMAGES)
    right = [(rng.random(IMAGES) < easy + rng.normal(0, trained)).sum() for _ in range(replicas)]
    return stats.counted_rate(right, IMAGES)


def table(trials: int = 1000) -> str:
    heads = [f"{replicas} replicas" for replicas in REPLICAS]
    lines = ["| interval | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]

    def line(name: str, draw: Callable[[Rng, int], Interval], truth: float, trials: int = trials) -> None:
        cells = [cell(lambda rng, n=replicas: draw(rng, n), truth, trials) for replicas in REPLICAS]  # type: ignore[misc]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    for trained in (0.0, TRAINED, 2 * TRAINED):
        for samples in SAMPLES:
            line(
                f"share over reconstructions, {samples} samples a class, trainings differ by {trained:g}",
                lambda rng, n, s=samples, t=trained: stats.share_interval(shares(rng, n, s, t)),  # type: ignore[misc]
                0.5,
            )
    line(
        f"the same by a nested bootstrap, 32 samples, trainings differ by {2 * TRAINED:g}",
        lambda rng, n: stats.rate_interval(shares(rng, n, 32, 2 * TRAINED), 0, num_resamples=200),
        0.5,
    )
    for trained in (0.0, TRAINED):
        of = f"trainings differ by {trained:g}"
        line(f"accuracy on {IMAGES} images, {of}", lambda rng, n, t=trained: accuracy(rng, n, t), 0.5)  # type: ignore[misc]
        line(f"paired generalization gap, {of}", lambda rng, n, t=trained: paired_gap(rng, n, t), 0.1)  # type: ignore[misc]
        line(
            f"membership AUC, {of}",
            lambda rng, n, t=trained: stats.replicated_auc(scored(rng, n, t)),  # type: ignore[misc]
            auc_truth(trained),
        )
    for fpr, (num, most) in RATES.items():
        for trained in (0.0, TRAINED):
            line(
                f"TPR at {100 * fpr:g}% FPR, {num:,} images, trainings differ by {trained:g}",
                lambda rng, n, f=fpr, m=num, t=trained: stats.replicated_tpr(scored(rng, n, t, m), f),  # type: ignore[misc]
                tpr_truth(fpr, trained),
                min(trials, most),
            )
    return "\n".join(lines)


def written(page: str, made: str) -> str:
    """The text of METRICS.md with the table. Raises ValueError where the marks are not there once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{PAGE.name}: the marks of the coverage; allowed: {BEGIN!r} and {END!r}, once each")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    made = table()
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")
    print(made)
