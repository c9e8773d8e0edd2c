"""Writes the pictures as small scripts that the pages load, each image once, as a data URI.

A page holds only where its scripts are. One script a (suite, attack, replica) has the reconstructions of all models,
one a (model, attack, replica) what belongs to a model alone. So a page is light, whatever the number of attacks.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from leaderboard.parquet_rows import script_json
from leaderboard.picture_views import Group, Picture, Shot, View, across
from leaderboard.slugs import slug

SIDES = {"in": "members", "out": "non_members"}


class Images:
    """Data URIs, each once, by their place."""

    def __init__(self) -> None:
        self._places: dict[bytes, int] = {}

    def place(self, png: bytes | None) -> int | None:
        return None if png is None else self._places.setdefault(png, len(self._places))

    def uris(self) -> list[str]:
        return [uri(data) for data in self._places]


def uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def scripts(suite: str, models: Sequence[str], views: Sequence[View], folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Write the scripts of a suite into `folder`; returns what each model's page must know: its views, in order.

    A view there is {method, replica, own, suite}: `own` and `suite` are file names of scripts.
    """
    folder.mkdir(exist_ok=True)
    shared: dict[tuple[str, int | None], str] = {}
    found: dict[str, list[dict[str, Any]]] = {model: [] for model in models}
    for view in views:
        if view.model not in found:
            continue
        place = (view.method, view.replica)
        if place not in shared:
            shared[place] = f"all--{slug(suite, str(len(shared)))}.js"
            _write(folder / shared[place], compared(across(views, models, *place)))
        own = f"one--{slug(suite, view.model)}--{len(found[view.model])}.js"
        _write(folder / own, alone(view))
        names = {"own": own, "suite": shared[place]}
        found[view.model].append({"method": view.method or "inversion", "replica": view.replica, **names})
    return found


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(f"page.receive({script_json(path.name)}, {script_json(value)});\n", encoding="utf-8")


def compared(rows: Sequence[tuple[str, View | None]]) -> dict[str, Any]:
    """The reconstructions of all models, for `night and day` and the class means."""
    images = Images()
    known = [view for _, view in rows if view is not None]
    classes = {g.class_id: g for view in reversed(known) for g in view.groups}
    models = [
        {
            "model": model,
            "replica": view and view.replica,
            "correlation": view and view.correlation,
            "shots": view and {str(g.class_id): [_plain(shot, images) for shot in g.shots] for g in view.groups},
        }
        for model, view in rows
    ]
    ordered = sorted(classes.values(), key=lambda g: (g.class_id is None, g.class_id or 0))
    return {"classes": [_class(g, images) for g in ordered], "models": models, "images": images.uris()}


def _class(found: Group, images: Images) -> dict[str, Any]:
    return {"id": str(found.class_id), "name": found.name, "mean": images.place(found.mean)}


def _plain(shot: Shot, images: Images) -> dict[str, Any]:
    return {
        "number": shot.number,
        "image": images.place(shot.png),
        "confidence": _rounded(shot.confidence),
        "recognised": shot.recognised,
        "correlation": _rounded(shot.correlation),
    }


def alone(view: View) -> dict[str, Any]:
    """The nearest and the most exposed images of one view."""
    images = Images()
    pictures: dict[Any, dict[str, Any]] = {}

    def picture(found: Picture) -> Any:
        """Key of the picture in `pictures`."""
        key = str(found.image_id)
        pictures[key] = {"image": images.place(found.png), "class": str(found.class_id), "name": found.class_name}
        return key

    near = {
        space: {
            str(g.class_id): [
                {
                    SIDES[side]: [[picture(n.picture), _rounded(n.cosine)] for n in shot.near.get((space, side), ())]
                    for side in SIDES
                }
                for shot in g.shots
            ]
            for g in view.groups
        }
        for space in view.spaces
    }
    exposed = {
        space: {
            SIDES[side]: {
                "hits": [[picture(p), count] for p, count in found.hits],
                "expected": found.expected,
                "reconstructions": found.num_reconstructions,
                "size": found.gallery_size,
            }
            for side in SIDES
            if (found := view.exposed.get((space, side))) is not None
        }
        for space in view.spaces
    }
    parts = {"spaces": view.spaces, "near": near, "exposed": exposed}
    return {**parts, "pictures": pictures, "images": images.uris()}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def strip(rows: Sequence[tuple[str, View | None]], most: int = 10) -> dict[str, Any] | None:
    """The first reconstruction of each of the first `most` classes under every model, for the index page."""
    known = [view for _, view in rows if view is not None]
    if not known:
        return None
    classes = [(g.class_id, g.name) for g in known[0].groups]
    lines = []
    for model, view in rows:
        shots = {g.class_id: g.shots[0] for g in view.groups if g.shots} if view else {}
        cells = [shots[c].png if c in shots else None for c, _ in classes[:most]]
        lines.append({"model": model, "cells": [png and uri(png) for png in cells]})
    return {"classes": [name for _, name in classes[:most]], "num_classes": len(classes), "lines": lines}
