"""Nearest members and non-members in pixels, by brute force, where the data set is on this machine."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from benchmark.rederivation.data_set import DataSet
from benchmark.rederivation.kept import Kept, Node
from benchmark.rederivation.numbers import Check
from benchmark.rederivation.reconstructions import nearest

Floats = npt.NDArray[np.float64]
_ROUNDING = 2e-5
"""The search is in float32."""
_MOST = 200
"""Reconstructions of a trial that are looked up."""


def nearest_images(kept: Kept, data: DataSet | None) -> Iterator[Check]:
    """Cosines to the k nearest images, and the correlation with the mean member of the class."""
    if data is None:
        return
    images = data.pixels
    groups: dict[tuple[str, int], list[Node]] = {}
    for node in kept.of("leakage"):
        groups.setdefault((node.inputs["pools"], node.replica or 0), []).append(node)
    centres: dict[str, Floats] = {}
    for (pools, replica), nodes in groups.items():
        sides = kept.sides(pools, replica)
        if sides is None:
            continue
        if pools not in centres:
            auxiliary = kept.arrays(pools, "auxiliary")["auxiliary"]
            centres[pools] = images[auxiliary].mean(axis=0, dtype=np.float64) / 255
        for side, chosen in (("in", sides["is_member"]), ("out", sides["is_out"])):
            gallery = images[sides["image_id"][chosen]].astype(np.float64) / 255
            directions = _unit(gallery - centres[pools])
            yield from (_nearest(kept, node, side, directions, centres[pools]) for node in nodes)
        members, labels = sides["image_id"][sides["is_member"]], sides["label"][sides["is_member"]]
        means = {
            label: images[members[labels == label]].mean(axis=0, dtype=np.float64) for label in set(labels.tolist())
        }
        yield from (_class_means(kept, node, means) for node in nodes)


def _nearest(kept: Kept, node: Node, side: str, directions: Floats, centre: Floats) -> Check:
    """directions: (N, pixels) of the images of the side, seen from the centre."""
    shown, _ = _made(kept, node)
    cosines = -np.sort(-_unit(shown - centre) @ directions.T, axis=1)
    stored = nearest(kept, node)["pixel"][f"{side}_cosines"][:_MOST]
    gap = float(np.abs(cosines[:, : stored.shape[1]] - stored).max())
    return Check("nearest images, pixels", gap, _ROUNDING, f"{node.place('').words()}, {side}")


def _class_means(kept: Kept, node: Node, means: Mapping[int, Floats]) -> Check:
    """means: class -> its mean member, (pixels,)."""
    shown, targets = _made(kept, node)
    table = kept.table(node.key, "samples")
    stored = table["value"][table["metric"] == "class_mean_correlation"][: len(shown)].astype(np.float64)
    found = [
        np.corrcoef(image.astype(np.float64), means[label])[0, 1]
        if label in means and np.ptp(image) > 1e-12
        else np.nan
        for image, label in zip(shown, targets.tolist(), strict=True)
    ]
    gap = float(np.nanmax(np.abs(np.array(found) - stored), initial=0.0))
    return Check("class_mean_correlation, each image", gap, _ROUNDING, node.place("").words())


def _made(kept: Kept, node: Node) -> tuple[Floats, npt.NDArray[np.int64]]:
    """(reconstructions (N, pixels), their target classes)."""
    made = kept.arrays(node.inputs["inversion"], "images", "targets")
    images = made["images"][:_MOST]
    return images.reshape(len(images), -1), made["targets"][:_MOST]


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found
