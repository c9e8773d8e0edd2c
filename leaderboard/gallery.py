"""The gallery of one model: every image once, as a data URI, and the reconstructions that point at them."""

import base64
from collections.abc import Callable, Sequence
from typing import Any

from leaderboard.tables import Row, group, number

_PNG = b"\x89PNG\r\n\x1a\n"
_Image = Callable[[bytes | None], int | None]
_SPACES = ("evaluator", "evaluator_robust", "target", "pixel")


def gallery(rows: Sequence[Row], primary_inversion: str | None) -> dict[str, Any] | None:
    """What static/gallery.js draws: `images` and `views`, one view a (replica, method, space); None for no rows.

    The headline (primary inversion, evaluator space) comes first. An image that is no PNG is left out.
    """
    images: dict[bytes, int] = {}

    def image(data: bytes | None) -> int | None:
        if not data or not data.startswith(_PNG):
            return None
        return images.setdefault(data, len(images))

    def order(key: tuple[Any, ...]) -> tuple[Any, ...]:
        replica, method, space = key
        place = _SPACES.index(space) if space in _SPACES else len(_SPACES)
        return (method != primary_inversion, str(method), place, str(space), replica is not None, replica or 0)

    groups = group(rows, "replica", "method", "space")
    views = []
    for key in sorted(groups, key=order):
        replica, method, space = key
        views.append(
            {
                "id": "/".join(str(part) for part in key),
                "label": f"replica {replica}, {method or 'inversion'}, {space or 'unnamed'} space",
                "classes": _classes(groups[key], image),
            }
        )
    if not views:
        return None
    uris = [f"data:image/png;base64,{base64.b64encode(data).decode()}" for data in images]
    return {"images": uris, "views": views}


def _classes(rows: Sequence[Row], image: _Image) -> list[dict[str, Any]]:
    classes = []
    for (class_id, class_name), members in sorted(
        group(rows, "class_id", "class_name").items(), key=lambda item: (item[0][0] is None, item[0][0] or 0)
    ):
        samples = [_sample(row, image) for row in sorted(members, key=lambda r: r["sample"] or 0)]
        classes.append({"name": class_name or f"class {class_id}", "samples": samples})
    return classes


def _sample(row: Row, image: _Image) -> dict[str, Any]:
    return {
        "sample": row["sample"],
        "confidence": number(row["target_confidence"]),
        "recognised": row["evaluator_correct"],
        "reconstruction": image(row["image_png"]),
        "member": {"image": image(row["in_png"]), "cosine": number(row["cosine_in"]), "id": row["in_id"]},
        "non_member": {"image": image(row["out_png"]), "cosine": number(row["cosine_out"]), "id": row["out_id"]},
    }
