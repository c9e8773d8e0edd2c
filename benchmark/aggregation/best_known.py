"""What all evasion attacks of a row leave together: an image counts as robust only where every one of them failed.

Of the attacks in the primary one's ball (equal norm and epsilon), which all get the same images; images that were
handed in are among them. From the outcome of every image, which each trial keeps.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from benchmark import stats
from benchmark.aggregation.finished_trial import Done, pair_of
from benchmark.aggregation.intervals_over_samples import interval_row
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.results.store import CorruptArtifact
from benchmark.trials.trial import Row

Bools = npt.NDArray[np.bool_]
_NO_OTHER = "no other attack in its ball"


def rows(results: SuiteResults, model: str, method: str) -> Iterator[Row]:
    """Under the primary attack: `best_known_robust_accuracy` and `attack_gap`. Under another one in its ball:
    `beats_primary` and `loses_to_primary`. None under attacks in other balls.
    """
    primary, *others = _rivals(results)
    if method == primary and not any(results.of(model, "evade", other) for other in others):
        yield from _alone(results.of(model, "evade", primary))
        return
    if method not in (primary, *others):
        return
    own = _outcomes(results, model, primary)
    if method == primary:
        yield from _of_all(results, model, own, others)
    else:
        found = _outcomes(results, model, method, own)
        both = [replica for replica in own if replica in found]
        yield from _share("beats_primary", {replica: own[replica] & ~found[replica] for replica in both})
        yield from _share("loses_to_primary", {replica: found[replica] & ~own[replica] for replica in both})


def _of_all(results: SuiteResults, model: str, own: Mapping[int, Bools], others: Sequence[str]) -> Iterator[Row]:
    stands = {replica: robust.copy() for replica, robust in own.items()}
    counted = []
    for method in others:
        found = _outcomes(results, model, method, own)
        there = found.keys() & own.keys()
        for replica in there:
            stands[replica] &= found[replica]
        if there:
            partly = f" (replica {', '.join(map(str, sorted(there)))})" if len(there) < len(stands) else ""
            counted.append(f"{method}{partly}")
    note = f"every image under the primary attack and {', '.join(counted)}" if counted else _NO_OTHER
    yield from _share("best_known_robust_accuracy", stands, note)
    yield from _share("attack_gap", {replica: robust & ~stands[replica] for replica, robust in own.items()})


def _alone(trials: Mapping[int, Done]) -> Iterator[Row]:
    """Where no other attack was made: what it leaves by itself, from its own count, without a look at the images."""
    counts = {replica: found for replica, done in trials.items() if (found := done.counted("robust_accuracy"))}
    if counts:
        hits, sizes = zip(*counts.values(), strict=True)
        pairs = [pair_of(replica) for replica in counts]
        yield interval_row("best_known_robust_accuracy", stats.counted_rate(hits, sizes, pairs), note=_NO_OTHER)
        yield interval_row("attack_gap", stats.counted_rate([0] * len(hits), sizes, pairs))


def _rivals(results: SuiteResults) -> list[str]:
    """Labels of the attacks in the primary one's ball, that first."""
    attacks = results.about["evasion"]
    ball = attacks[0]["norm"], attacks[0]["epsilon"]
    return [attack["label"] for attack in attacks if (attack["norm"], attack["epsilon"]) == ball]


def _outcomes(
    results: SuiteResults, model: str, method: str, like: Mapping[int, Bools] = MappingProxyType({})
) -> dict[int, Bools]:
    """Replica -> (N,) which images stand under an attack. like: of an attack that had the same images."""
    found = {}
    for replica, done in results.of(model, "evade", method).items():
        robust = results.once(model, ("robust", done.key), partial(_robust, results, done.key))
        if replica in like and len(robust) not in (0, len(like[replica])):
            raise CorruptArtifact(done.key, "tensors.safetensors", "not as many images as the primary attack has")
        if len(robust):
            found[replica] = robust
    return found


def _robust(results: SuiteResults, key: str) -> Bools:
    if "tensors.safetensors" not in results.store.sizes(key):
        return np.zeros(0, dtype=bool)
    (robust,) = results.store.arrays(key, "test_robust")
    if robust.ndim != 1 or robust.dtype != np.bool_:
        raise CorruptArtifact(key, "tensors.safetensors", "no outcome for each image")
    return robust


def _share(metric: str, images: Mapping[int, Bools], note: str | None = None) -> Iterator[Row]:
    """As any share of images that all replicas have in common."""
    if images:
        hits, sizes = [int(found.sum()) for found in images.values()], [len(found) for found in images.values()]
        yield interval_row(metric, stats.counted_rate(hits, sizes, [pair_of(replica) for replica in images]), note=note)
