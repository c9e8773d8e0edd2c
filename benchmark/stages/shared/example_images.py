"""Tables of pictures for the page: reconstructions, their nearest images, and the images exposed most often.

Every picture is written once: the other tables name it by its id. Columns are those of `benchmark.schema`, less
the labels of the trial, which it does not know.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from benchmark import schema
from benchmark.data.images import ImageData
from benchmark.memorization.invertibility import class_means
from benchmark.memorization.train_specificity import exposure_counts

SHOWN_SPACES = ("evaluator", "target", "pixel")
"""Spaces whose nearest images the page shows."""
NUM_NON_MEMBERS = 1
"""Nearest non-members kept of a reconstruction: the control beside its members."""
NUM_EXPOSED = 12
"""Most exposed images kept of a space and side."""

Tensors = Mapping[str, Tensor]
Rows = list[dict[str, Any]]


def tables(
    data: ImageData, made: Tensors, near: Tensors, sides: Tensors, judged: Tensors, num_members: int
) -> dict[str, pa.Table]:
    """gallery, neighbours, exposed, class_means and pictures of one trial.

    made: `images` (N, C, H, W) in [0, 1], `targets` and `confidence` (N,). near: `<space>_{in,out}_ids` and
    `_cosines`, (N, k). sides: ids of the members (`in`) and the non-members (`out`). judged: `correct` (N,) bool and
    `correlation` (N,), NaN where undefined. num_members: nearest members kept of a reconstruction.
    """
    kept = {"in": num_members, "out": NUM_NON_MEMBERS}
    numbers: dict[int, Iterator[int]] = defaultdict(itertools.count)
    places = [(target, next(numbers[target])) for target in made["targets"].tolist()]
    neighbors, exposed = _neighbors(near, places, kept), _exposed(near, sides)
    rows = {
        "gallery": _gallery(data, made, places, judged),
        "neighbours": neighbors,
        "exposed": exposed,
        "class_means": _class_means(data, made["targets"], sides["in"]),
    }
    shown = sorted({row["image_id"] for row in (*neighbors, *exposed)})
    made_of_rows = {name: pa.Table.from_pylist(found, schema=schema.unlabelled(name)) for name, found in rows.items()}
    return {**made_of_rows, "pictures": pictures(data, shown)}


def _gallery(data: ImageData, made: Tensors, places: Sequence[tuple[int, int]], judged: Tensors) -> Rows:
    return [
        {
            "class_id": target,
            "class_name": data.class_names[target],
            "sample": sample,
            "target_confidence": float(made["confidence"][i]),
            "evaluator_correct": bool(judged["correct"][i]),
            "class_mean_correlation": _known(judged["correlation"][i]),
            "image_png": _png(made["images"][i]),
        }
        for i, (target, sample) in enumerate(places)
    ]


def _neighbors(near: Tensors, places: Sequence[tuple[int, int]], kept: Mapping[str, int]) -> Rows:
    rows: Rows = []
    for space, (side, num) in itertools.product(SHOWN_SPACES, kept.items()):
        ids, cosines = (near[f"{space}_{side}_{what}"][:, :num].tolist() for what in ("ids", "cosines"))
        for (target, sample), found, close in zip(places, ids, cosines, strict=True):
            place = {"space": space, "class_id": target, "sample": sample, "side": side}
            for rank, (image, cosine) in enumerate(zip(found, close, strict=True), start=1):
                assert math.isfinite(cosine), "a cosine is not finite"
                rows.append({**place, "rank": rank, "image_id": image, "cosine": cosine})
    return rows


def _exposed(near: Tensors, sides: Tensors) -> Rows:
    """The images of either side that are most often the nearest one; ties in the order of their ids."""
    rows: Rows = []
    for space, (side, ids) in itertools.product(SHOWN_SPACES, sides.items()):
        nearest = near[f"{space}_{side}_ids"][:, 0]
        ordered = ids.sort().values
        counts = exposure_counts(nearest, ordered)
        sizes = {"num_reconstructions": len(nearest), "gallery_size": len(ids)}
        for rank, i in enumerate(counts.argsort(descending=True, stable=True)[:NUM_EXPOSED].tolist(), start=1):
            if counts[i] > 0:
                place = {"space": space, "side": side, "rank": rank}
                rows.append({**place, "image_id": int(ordered[i]), "count": int(counts[i]), **sizes})
    return rows


def _class_means(data: ImageData, targets: Tensor, members: Tensor) -> Rows:
    classes = targets.unique()
    means = class_means(data.pixels(members), data.classes(members), classes)
    return [
        {"class_id": target, "class_name": data.class_names[target], "image_png": _png(mean / 255)}
        for target, mean in zip(classes.tolist(), means, strict=True)
    ]


def pictures(data: ImageData, ids: Sequence[int]) -> pa.Table:
    """The table `pictures` of these images."""
    chosen = torch.tensor(ids, dtype=torch.int64)
    labels = data.classes(chosen).tolist()
    rows = [
        {"image_id": i, "class_id": c, "class_name": data.class_names[c], "image_png": _png(image)}
        for i, c, image in zip(ids, labels, data.pixels(chosen), strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=schema.unlabelled("pictures"))


def _known(value: Tensor) -> float | None:
    return float(value) if math.isfinite(value) else None


def _png(image: Tensor) -> bytes:
    """(C, H, W) uint8, or real in [0, 1] -> PNG."""
    from torchvision.io import encode_png

    whole = image if image.dtype == torch.uint8 else (image * 255).round().to(torch.uint8)
    return bytes(encode_png(whole.contiguous()).numpy())
