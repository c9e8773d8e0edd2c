"""Nearest members and non-members in pixels, by brute force, where the data set is on this machine."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from benchmark.rederivation.kept import Arrays, Kept, Node
from benchmark.rederivation.numbers import Check
from benchmark.rederivation.reconstructions import nearest

Floats = npt.NDArray[np.float64]
_ROUNDING = 2e-5
"""The search is in float32."""
_MOST = 200
"""Reconstructions of a trial that are looked up."""


def nearest_images(kept: Kept, data_root: str | None) -> Iterator[Check]:
    """Cosines to the k nearest images, and the correlation with the mean member of the class."""
    images = _images(kept, data_root)
    if images is None:
        return
    for node in kept.of("leakage"):
        sides = kept.sides(node.inputs["pools"], node.replica)
        if sides is None:
            continue
        auxiliary = kept.arrays(node.inputs["pools"], "auxiliary")["auxiliary"]
        centre = images[auxiliary].mean(axis=0, dtype=np.float64) / 255
        made = kept.arrays(node.inputs["inversion"], "images", "targets")
        shown, near = made["images"][:_MOST].reshape(len(made["images"][:_MOST]), -1), nearest(kept, node, "pixel")
        for side, chosen in (("in", sides["is_member"]), ("out", sides["is_out"])):
            gallery = images[sides["image_id"][chosen]].astype(np.float64) / 255
            cosines = -np.sort(-_unit(shown - centre) @ _unit(gallery - centre).T, axis=1)
            stored = near[f"{side}_cosines"][:_MOST]
            gap = float(np.abs(cosines[:, : stored.shape[1]] - stored).max())
            yield Check("nearest images, pixels", gap, _ROUNDING, f"{node.place('').words()}, {side}")
        yield from _class_means(kept, node, shown, made["targets"][:_MOST], images, sides)


def _class_means(
    kept: Kept, node: Node, shown: Floats, targets: npt.NDArray[np.int64], images: npt.NDArray[np.uint8], sides: Arrays
) -> Iterator[Check]:
    table = kept.table(node.key, "samples")
    stored = table["value"][table["metric"] == "class_mean_correlation"][: len(shown)].astype(np.float64)
    members, labels = sides["image_id"][sides["is_member"]], sides["label"][sides["is_member"]]
    means = {label: images[members[labels == label]].mean(axis=0, dtype=np.float64) for label in set(targets.tolist())}
    found = [
        np.corrcoef(image.astype(np.float64), means[label])[0, 1] if np.ptp(image) > 1e-12 else np.nan
        for image, label in zip(shown, targets.tolist(), strict=True)
    ]
    gap = float(np.nanmax(np.abs(np.array(found) - stored), initial=0.0))
    yield Check("class_mean_correlation, each image", gap, _ROUNDING, node.place("").words())


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return found


def _images(kept: Kept, data_root: str | None) -> npt.NDArray[np.uint8] | None:
    """(N, pixels) of training, then test images; None where the data set is not on this machine."""
    from benchmark import data, registry

    pools = next((node for node in kept.of("pools")), None)
    if pools is None:
        return None
    try:
        found = data.planned(registry.parse("data", pools.settings["data"]), data_root, pools.settings["fingerprint"])
    except (ValueError, OSError):
        return None
    return np.concatenate([part.numpy().reshape(len(part), -1) for part in (found.images, found.test_images)])
