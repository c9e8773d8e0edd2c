"""The perturbed images of evasion attacks against their ball and the box: by their pixels, and by stored distances."""

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
_ORDER = {"linf": np.inf, "l2": 2}


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
        clean, robust, distance, ids, images = kept.arrays(node.key, *(f"{pool}_{name}" for name in names)).values()
        where, fooled = f"{node.place('').words()}, {pool}", clean & ~robust
        whole = (len(images) + 1) * images[:1].nbytes <= _MOST_KEPT
        lacking = abs(int(fooled.sum()) - len(images)) if whole else 0
        yield Check("adversarial images", float(lacking), 0.5, where)
        if not len(images):
            continue
        out = max(0.0, -float(images.min()), float(images.max()) - 1)
        yield Check("adversarial image outside [0, 1]", out, _EXACT, where)
        if data is not None and not lacking:
            ids = ids[fooled][: len(images)] + (data.num_training if pool == "test" else 0)
            moved = images.reshape(len(images), -1).astype(np.float64) - data.pixels[ids] / 255
            far = np.linalg.norm(moved, _ORDER[node.settings["attack"]["norm"]], axis=1)
            yield _outside("adversarial image outside its ball", node, pool, float(far.max()))
            gap = float(np.abs(far - distance[fooled][: len(images)]).max())
            yield Check("distance of an adversarial image", gap, _ROUNDING, where)


def trials_without(kept: Kept) -> Iterator[str]:
    """Keys of evasion trials of a version that kept no adversarial images."""
    yield from (node.key for node in kept.of("evade") if not _keeps_images(kept, node))


def _keeps_images(kept: Kept, node: Node) -> bool:
    return "test_adversarial" in kept.names(node.key)


def _attacked(kept: Kept) -> Iterator[tuple[Node, str]]:
    for node in kept.of("evade"):
        yield node, "test"
        if node.settings["num_members"]:
            yield node, "members"


def _outside(metric: str, node: Node, pool: str, distance: float) -> Check:
    excess = max(0.0, distance - float(node.settings["attack"]["epsilon"]))
    return Check(metric, excess, _ROUNDING, f"{node.place('').words()}, {pool}")
