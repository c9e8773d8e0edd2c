"""Finds how each pair of replicas cut the private images, from what trials keep, and cuts them anew."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.aggregation.finished_trial import Done
from benchmark.aggregation.suite_results import SuiteResults
from benchmark.memorization.recut import NUM_CUTS, Bools, Cut, recuts
from benchmark.results.store import CorruptArtifact
from benchmark.stats import seed_of

Ints = npt.NDArray[np.int64]
_HELD = ("predict", "neighbours")
"""Stages of the trials that `PairCuts.of` is asked for."""


class Recut(NamedTuple):
    """How a pair was cut, and other cuts: inside (1 + D, U) bool, the cut that was made first."""

    cut: Cut
    inside: Bools

    def of(self, replica: int) -> Bools:
        """(1 + D, U) bool: the members of this replica under each cut. Those of a mate are the other half."""
        return self.inside if replica % 2 == 0 else ~self.inside


class PairCuts:
    """The cuts of one suite, each made once: all models, attacks and feature spaces are held against the same."""

    def __init__(self, results: SuiteResults) -> None:
        self._results = results
        self._indexed: list[Done] | None = None

    def of(self, done: Done) -> Recut | None:
        """The cut that is behind a trial of a replica; None where trials that know it have not run."""
        pools = self._results.inputs(done.key).get("pools")
        if pools is None or done.replica is None:
            return None
        known, place = self._known(pools, done.pair), (pools, done.pair)
        if place not in self._made:
            cut = self._cut(known) if known else None
            self._made[place] = None if cut is None else _recut(cut, *place)
        return self._made[place]

    def sources(self, models: Sequence[str]) -> list[str]:
        """Content of the trials that the cuts of these models come from."""
        trials = [done for model in models for done in self._results.of_model(model) if done.stage in _HELD]
        pools = [self._results.inputs(done.key).get("pools") for done in trials]
        places = {(of, done.pair) for of, done in zip(pools, trials, strict=True) if of and done.replica is not None}
        return sorted({known.content for place in places for known in self._known(*place)})

    def _known(self, pools: str, pair: int) -> list[Done]:
        """The trials that a cut is read from: that of the pools, and where it was drawn one of either replica."""
        if self._indexed is not self._results.done:  # the first time, or a trial was passed over
            self._index()
        made = self._by_key.get(pools)
        if made is None or made.stage == "declare_members":
            return [made] if made else []
        sides = self._predicted.get((pools, pair), {})
        return [made, sides[0], sides[1]] if len(sides) == 2 else []

    def _index(self) -> None:
        self._indexed = self._results.done
        self._made: dict[tuple[str, int], Recut | None] = {}
        self._by_key: dict[str, Done] = {}
        self._predicted: dict[tuple[str, int], dict[int, Done]] = {}
        for done in self._results.done:
            self._by_key.setdefault(done.key, done)
            pools = self._results.inputs(done.key).get("pools")
            if done.stage == "predict" and done.replica is not None and pools:
                self._predicted.setdefault((pools, done.pair), {}).setdefault(done.replica % 2, done)

    def _cut(self, known: Sequence[Done]) -> Cut | None:
        arrays, (made, *sides) = self._results.store.arrays, known
        private, label, group = (_ids(made, array) for array in arrays(made.key, "private", "label", "group"))
        if sides:
            first, second = (private[_sides(self._results, side, len(private))] for side in sides)
        else:
            first, second = (_ids(made, array) for array in arrays(made.key, "members", "non_members"))
        images = np.sort(np.concatenate([first, second]))
        if not len(images) or len(np.unique(images)) < len(images) or images[0] < 0:
            raise CorruptArtifact(
                made.key, "tensors.safetensors", "an image is on both sides of a pair, or there is none"
            )
        if images[-1] >= len(label) or len(label) != len(group):
            return None  # test images on the side of the non-members: the pools do not keep their classes
        return Cut(images, label[images], group[images], np.isin(images, first))


def _ids(done: Done, array: npt.NDArray[np.generic]) -> Ints:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise CorruptArtifact(done.key, "tensors.safetensors", "pools are not lists of images")
    return array.astype(np.int64)


def _sides(results: SuiteResults, done: Done, size: int) -> Bools:
    (members,) = results.store.arrays(done.key, "is_member")
    if members.shape != (size,) or members.dtype != np.bool_:
        raise CorruptArtifact(done.key, "tensors.safetensors", "is_member is not one for each private image")
    return members


def _recut(cut: Cut, pools: str, pair: int) -> Recut:
    drawn = recuts(cut, NUM_CUTS, np.random.default_rng(seed_of(f"{pools}/{pair}")))
    return Recut(cut, np.vstack([cut.first, drawn]))
