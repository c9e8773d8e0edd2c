"""Joins the picture tables of a suite into views: a view is what one attack made of one replica of a model.

The page (`gallery`) and the sheets for a paper (`sheets`) both show views.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.schema import SPACES
from leaderboard.parquet_rows import Row, group, number

Tables = Mapping[str, Sequence[Row]]
_PNG = b"\x89PNG\r\n\x1a\n"
_MOST_SIDE, _MOST_PNG_BYTES = 1024, 8 * 2**20


@dataclass(frozen=True)
class Picture:
    """An image that a reconstruction is compared with. png is None where no image was kept."""

    png: bytes | None
    image_id: int | None
    class_id: int | None
    class_name: str


@dataclass(frozen=True)
class Near:
    """One of the nearest images of a reconstruction."""

    picture: Picture
    cosine: float | None


@dataclass(frozen=True)
class Shot:
    """A reconstruction. near: (space, side) -> nearest images, the nearest first; side "in": members."""

    number: int
    png: bytes | None
    confidence: float | None
    recognised: bool | None
    correlation: float | None
    near: Mapping[tuple[str, str], Sequence[Near]]


@dataclass(frozen=True)
class Group:
    """The reconstructions of a class. mean: its mean member."""

    class_id: int | None
    name: str
    mean: bytes | None
    shots: Sequence[Shot]


@dataclass(frozen=True)
class Exposure:
    """The images of one side that are most often the nearest one, with how often: `hits`."""

    hits: Sequence[tuple[Picture, int]]
    num_reconstructions: int
    gallery_size: int

    @property
    def expected(self) -> float:
        """Hits of an image if every one were equally likely."""
        return self.num_reconstructions / self.gallery_size


@dataclass(frozen=True)
class View:
    """One attack on one replica. exposed: (space, side) -> most exposed images."""

    model: str
    method: str
    replica: int | None
    groups: Sequence[Group]
    exposed: Mapping[tuple[str, str], Exposure] = field(default_factory=dict)

    @property
    def spaces(self) -> list[str]:
        """Spaces with neighbors, the paper's own first."""
        found = {space for space, _ in self.exposed}
        found |= {space for g in self.groups for shot in g.shots for space, _ in shot.near}
        return sorted(found, key=lambda s: (SPACES.index(s) if s in SPACES else len(SPACES), s))

    @property
    def correlation(self) -> float | None:
        """Mean class-mean correlation, None where it was not measured."""
        known = [shot.correlation for g in self.groups for shot in g.shots if shot.correlation is not None]
        return sum(known) / len(known) if known else None

    def group(self, class_id: int | None) -> Group | None:
        return next((g for g in self.groups if g.class_id == class_id), None)


def views(tables: Tables, primary: str | None) -> list[View]:
    """Every view of a suite; those of the primary attack first, then in order of replica.

    tables: rows of one suite of `gallery`, `neighbours`, `exposed`, `class_means` and `pictures`.
    """
    images = {
        row["image_id"]: Picture(png(row["image_png"]), row["image_id"], row["class_id"], _named(row))
        for row in tables["pictures"]
    }
    place = ("model", "method", "replica")
    near, exposed, means = (group(tables[name], *place) for name in ("neighbours", "exposed", "class_means"))
    found = []
    for key, rows in group(tables["gallery"], *place).items():
        model, method, replica = key
        groups = _groups(rows, near.get(key, []), means.get(key, []), images)
        found.append(View(model or "", method or "", replica, groups, _exposed(exposed.get(key, []), images)))
    methods = list(dict.fromkeys(view.method for view in found))
    return sorted(
        found, key=lambda v: (v.method != primary, methods.index(v.method), -1 if v.replica is None else v.replica)
    )


def across(
    views: Sequence[View], models: Sequence[str], method: str, replica: int | None
) -> list[tuple[str, View | None]]:
    """(model, what this attack made of it) for every model; a model without this replica gives its first one."""
    found = []
    for model in models:
        own = [view for view in views if (view.model, view.method) == (model, method)]
        exact = [view for view in own if view.replica == replica]
        found.append((model, next(iter([*exact, *own]), None)))
    return found


def png(data: bytes | None) -> bytes | None:
    """`data` if it is a PNG image that is no larger than pictures of data sets are.

    Its header tells: a few bytes can be unpacked to billions of pixels.
    """
    if not data or len(data) > _MOST_PNG_BYTES or not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in (16, 20))
    return data if 0 < width <= _MOST_SIDE and 0 < height <= _MOST_SIDE else None


def _named(row: Row) -> str:
    return row["class_name"] or f"class {row['class_id']}"


def _groups(
    rows: Sequence[Row], near: Sequence[Row], means: Sequence[Row], images: Mapping[Any, Picture]
) -> list[Group]:
    by_shot = group(near, "class_id", "sample")
    mean = {row["class_id"]: png(row["image_png"]) for row in means}
    found = []
    for (class_id,), members in group(rows, "class_id").items():
        ordered = sorted(members, key=lambda r: r["sample"] or 0)
        shots = [_shot(row, by_shot.get((class_id, row["sample"]), []), images) for row in ordered]
        found.append(Group(class_id, _named(members[0]), mean.get(class_id), shots))
    return sorted(found, key=lambda g: (g.class_id is None, g.class_id or 0))


def _shot(row: Row, near: Sequence[Row], images: Mapping[Any, Picture]) -> Shot:
    sides = {
        (space or "", side or ""): [
            Near(_image(images, found["image_id"]), number(found["cosine"]))
            for found in sorted(same, key=lambda r: r["rank"] or 0)
        ]
        for (space, side), same in group(near, "space", "side").items()
    }
    confidence, correlation = number(row["target_confidence"]), number(row["class_mean_correlation"])
    return Shot(row["sample"] or 0, png(row["image_png"]), confidence, row["evaluator_correct"], correlation, sides)


def _exposed(rows: Sequence[Row], images: Mapping[Any, Picture]) -> dict[tuple[str, str], Exposure]:
    found = {}
    for (space, side), same in group(rows, "space", "side").items():
        ordered = sorted(same, key=lambda r: r["rank"] or 0)
        hits = [(_image(images, row["image_id"]), row["count"] or 0) for row in ordered]
        found[space or "", side or ""] = Exposure(
            hits, same[0]["num_reconstructions"] or 0, max(1, same[0]["gallery_size"] or 0)
        )
    return found


def _image(images: Mapping[Any, Picture], image_id: int | None) -> Picture:
    return images.get(image_id) or Picture(None, image_id, None, "unknown class")
