"""`bench figures`: writes the pictures of the pages as PNG files, and decides their names and folders."""

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.schema import LEADERBOARD, SHOWN, SUITES
from leaderboard import contact_sheets
from leaderboard.parquet_rows import group, read, rows
from leaderboard.picture_views import View, across, views
from leaderboard.slugs import part


@dataclass(frozen=True)
class Choice:
    """What is exported; empty: everything. replica: None takes the first one of each model."""

    suites: Collection[str] = ()
    models: Collection[str] = ()
    attacks: Collection[str] = ()
    replica: int | None = None


@dataclass(frozen=True)
class Pictured:
    """A suite with the views that its tables keep. models: in the order of the suite."""

    name: str
    models: list[str]
    views: list[View]


def export(site: Path, out: Path, choice: Choice, scale: int | None = None) -> Iterator[Path]:
    """Write the sheets that the tables in `site` give into `out`; yields each file when it is there.

    Raises ValueError for a table that is missing or damaged, a name that is not there, no pictures at all, and a
    folder that cannot be written.
    """
    chosen = _chosen(load(site), choice, site)
    for suite in chosen:
        for method in dict.fromkeys(view.method for view in suite.views):
            for name, sheet in _sheets(suite, method, choice.replica):
                path = out / part(suite.name) / part(method or "inversion") / name
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    contact_sheets.save(contact_sheets.draw(sheet, scale), path)
                except OSError as error:
                    allowed = "allowed: a folder that you may write to"
                    raise ValueError(f"out: {str(out)!r} cannot be written ({error.strerror}); {allowed}") from error
                yield path


def load(site: Path) -> list[Pictured]:
    """The suites of a page's folder, in order."""
    board = group(rows(read(site / "leaderboard.parquet", LEADERBOARD)), "suite")
    info = {row["suite"]: row for row in rows(read(site / "suites.parquet", SUITES, required=False))}
    shown = {n: group(rows(read(site / f"{n}.parquet", s, required=False)), "suite") for n, s in SHOWN.items()}
    found = []
    for (name,), lines in board.items():
        own = {table: groups.get((name,), []) for table, groups in shown.items()}
        primary = info.get(name, {}).get("primary_inversion")
        found.append(Pictured(name, [row["model"] for row in lines], views(own, primary)))
    return found


def _chosen(suites: Sequence[Pictured], choice: Choice, site: Path) -> list[Pictured]:
    _known("suite", choice.suites, [suite.name for suite in suites])
    suites = [suite for suite in suites if not choice.suites or suite.name in choice.suites]
    _known("model", choice.models, [model for suite in suites for model in suite.models])
    if not any(suite.views for suite in suites):
        advice = "`bench run` or `bench leaderboard` without --no-images keeps them"
        raise ValueError(f"{site}: no pictures were kept; {advice}")
    _known("attack", choice.attacks, [view.method for suite in suites for view in suite.views])
    found = [
        Pictured(
            suite.name,
            [model for model in suite.models if not choice.models or model in choice.models],
            [
                view
                for view in suite.views
                if (not choice.models or view.model in choice.models)
                and (not choice.attacks or view.method in choice.attacks)
            ],
        )
        for suite in suites
    ]
    replicas = sorted({view.replica for suite in found for view in suite.views if view.replica is not None})
    if choice.replica is not None and choice.replica not in replicas:
        allowed = ", ".join(map(str, replicas)) or "none, these models have no pictures"
        raise ValueError(f"--replica: {choice.replica} is not there; allowed: {allowed}")
    if not any(suite.views for suite in found):
        raise ValueError(f"{site}: no pictures of this choice were kept")
    return found


def _known(kind: str, names: Collection[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; allowed: {', '.join(dict.fromkeys(known)) or 'none'}"
            raise ValueError(f"--{kind}: unknown {kind} {name!r}{hint}")


def _sheets(suite: Pictured, method: str, replica: int | None) -> Iterator[tuple[Path, contact_sheets.Sheet]]:
    """(path below the attack's folder, sheet) of one attack: all models together, then each by itself."""
    compared = across(suite.views, suite.models, method, replica)
    if replica is not None:
        compared = [(model, view if view and view.replica == replica else None) for model, view in compared]
    known = [view for _, view in compared if view is not None]
    if not known:
        return
    suffix = "" if replica is None else f"--replica-{replica}"
    classes = {g.class_id: f"{g.class_id:02d}-{part(g.name, short=True)}" for view in known for g in view.groups
               if g.class_id is not None}  # fmt: skip
    yield Path(f"night-and-day{suffix}.png"), contact_sheets.night_and_day(compared)
    for class_id in sorted(classes):
        yield Path(f"night-and-day--{classes[class_id]}{suffix}.png"), contact_sheets.night_and_day(compared, class_id)
    yield Path(f"class-means{suffix}.png"), contact_sheets.means(compared)
    for view in known:
        folder = Path(part(view.model))
        yield folder / f"samples{suffix}.png", contact_sheets.samples(view)
        own = [g.class_id for g in view.groups if g.class_id is not None]
        for class_id in own:
            yield folder / f"samples--{classes[class_id]}{suffix}.png", contact_sheets.samples(view, class_id)
        for space in view.spaces:
            name = part(space)
            yield folder / f"exposed--{name}{suffix}.png", contact_sheets.exposed(view, space)
            yield folder / f"nearest--{name}{suffix}.png", contact_sheets.nearest(view, space)
            for class_id in own:
                path = folder / f"nearest--{name}--{classes[class_id]}{suffix}.png"
                yield path, contact_sheets.nearest(view, space, class_id)
