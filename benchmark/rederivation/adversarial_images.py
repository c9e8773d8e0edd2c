"""The perturbed images of evasion attacks against their ball and the box: by their pixels, and by stored distances."""

import math
from collections.abc import Iterator

import numpy as np

from benchmark.rederivation.data_set import DataSet
from benchmark.rederivation.kept import Kept, Node
from benchmark.rederivation.numbers import Check

_ROUNDING = 1e-5
"""Of x + delta - x in float32."""
_EXACT = 1e-9
"""Below any difference of two numbers near 1 in float32."""
_MOST_KEPT = 2**28
"""Bytes of images that a trial keeps of a pool."""


def distances(kept: Kept) -> Iterator[Check]:
    """How far the perturbed images lie outside their ball, by the distances that were stored."""
    for node, pool in _attacked(kept):
        far = kept.arrays(node.key, f"{pool}_distance")[f"{pool}_distance"].astype(float).max()
        yield _outside("distance outside the ball", node, pool, float(far))


def pixels(kept: Kept, data: DataSet | None) -> Iterator[Check]:
    """What the images that fooled a model say themselves: how many, in the box, in the ball, as far as was stored.

    Nothing is said of distances where the data set is not on this machine, nor of trials that kept no images.
    """
    for node, pool in _attacked(kept):
        if not _keeps_images(kept, node):
            continue
        names = ("clean", "robust", "distance", "ids", "adversarial")
        clean, robust, distance, ids, images = kept.read(node.key, *(f"{pool}_{name}" for name in names)).values()
        where, fooled = f"{node.place('').words()}, {pool}", clean & ~robust
        whole = (len(images) + 1) * images[:1].nbytes <= _MOST_KEPT
        lacking = abs(int(fooled.sum()) - len(images)) if whole else 0
        yield Check("adversarial images", float(lacking), 0.5, where)
        if not len(images):
            continue
        out = _beyond(float(np.maximum(-images, images - 1).max()), 0.0)  # NaN, if any pixel is
        yield Check("adversarial image outside [0, 1]", out, _EXACT, where)
        if data is not None and not lacking:
            ids = ids[fooled][: len(images)] + (data.num_training if pool == "test" else 0)
            moved = images.reshape(len(images), -1).astype(np.float64) - data.pixels[ids] / 255
            far = np.linalg.norm(moved, np.inf if node.settings["attack"]["norm"] == "linf" else 2, axis=1)
            yield _outside("adversarial image outside its ball", node, pool, float(far.max()))
            gap = float(np.abs(far - distance[fooled][: len(images)]).max())
            yield Check("distance of an adversarial image", gap, _ROUNDING, where)


def left_out(kept: Kept, data: DataSet | None) -> Iterator[str]:
    """Keys of evasion trials without distances: of a version that kept no images, or all where the data are missing."""
    yield from (node.key for node in kept.of("evade") if data is None or not _keeps_images(kept, node))


def _keeps_images(kept: Kept, node: Node) -> bool:
    return "test_adversarial" in kept.names(node.key)


def _attacked(kept: Kept) -> Iterator[tuple[Node, str]]:
    for node in kept.of("evade"):
        yield node, "test"
        if node.settings["num_members"]:
            yield node, "members"


def _outside(metric: str, node: Node, pool: str, distance: float) -> Check:
    excess = _beyond(distance, float(node.settings["attack"]["epsilon"]))
    return Check(metric, excess, _ROUNDING, f"{node.place('').words()}, {pool}")


def _beyond(value: float, most: float) -> float:
    """By how much it is; NaN infinitely."""
    return math.inf if math.isnan(value) else max(0.0, value - most)
