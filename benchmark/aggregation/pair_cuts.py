"""Finds how each pair of replicas cut the private images, from what trials keep, and cuts them anew."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.aggregation.suite_results import Done, SuiteResults
from benchmark.memorization.recut import NUM_CUTS, Bools, Cut, recuts
from benchmark.results.store import CorruptArtifact

Ints = npt.NDArray[np.int64]


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
        self._made: dict[tuple[str, int], Recut | None] = {}

    def of(self, done: Done) -> Recut | None:
        """The cut that is behind a trial of a replica; None where trials that know it have not run."""
        pools = self._results.inputs(done.key).get("pools")
        if pools is None or done.replica is None:
            return None
        place = (pools, done.replica // 2)
        if place not in self._made:
            cut = self._cut(*place)
            self._made[place] = None if cut is None else _recut(cut, *place)
        return self._made[place]

    def sources(self, models: Sequence[str]) -> list[str]:
        """Content of the trials that the cuts of these models come from."""
        results = self._results
        pools = {results.inputs(done.key).get("pools") for model in models for done in results.of_model(model)} - {None}
        knowing = [done for done in results.done if done.stage == "predict"]
        knowing = [done for done in knowing if results.inputs(done.key).get("pools") in pools]
        return sorted(done.content for done in (*knowing, *(done for done in results.done if done.key in pools)))

    def _cut(self, pools: str, pair: int) -> Cut | None:
        results = self._results
        tensors = next((done for done in results.done if done.key == pools), None)
        if tensors is None:
            return None
        found: dict[int, Done] = {}
        for done in results.done:
            if done.stage == "predict" and done.replica is not None and done.replica // 2 == pair:
                if results.inputs(done.key).get("pools") == pools:
                    found.setdefault(done.replica % 2, done)
        private, label, group = (_ids(tensors, array) for array in results.arrays(pools, "private", "label", "group"))
        if tensors.stage == "declare_members":
            first, second = (_ids(tensors, array) for array in results.arrays(pools, "members", "non_members"))
        elif len(found) == 2:
            first, second = (private[_sides(results, found[i], len(private))] for i in (0, 1))
        else:
            return None
        images = np.sort(np.concatenate([first, second]))
        if not len(images) or len(np.unique(images)) < len(images) or images[0] < 0:
            raise CorruptArtifact(pools, "tensors.safetensors", "an image is on both sides of a pair, or there is none")
        if images[-1] >= len(label) or len(label) != len(group):
            return None  # test images on the side of the non-members: the pools do not keep their classes
        return Cut(images, label[images], group[images], np.isin(images, first))


def _ids(done: Done, array: npt.NDArray[np.generic]) -> Ints:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise CorruptArtifact(done.key, "tensors.safetensors", "pools are not lists of images")
    return array.astype(np.int64)


def _sides(results: SuiteResults, done: Done, size: int) -> Bools:
    (members,) = results.arrays(done.key, "is_member")
    if members.shape != (size,) or members.dtype != np.bool_:
        raise CorruptArtifact(done.key, "tensors.safetensors", "is_member is not one for each private image")
    return members


def _recut(cut: Cut, pools: str, pair: int) -> Recut:
    seed = int.from_bytes(hashlib.sha256(f"{pools}/{pair}".encode()).digest()[:8], "big")
    drawn = recuts(cut, NUM_CUTS, np.random.default_rng(seed))
    return Recut(cut, np.vstack([cut.first, drawn]))
