"""Draws contact sheets for a paper: the pictures of the model pages on white, with labels, at 300 dots an inch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from leaderboard.picture_views import Group, Shot, View

DPI = 300
_SIDE = 112
"""Pixels of a picture's side at the default scale: 9.5 mm in print."""
_INK, _QUIET, _WRONG, _EMPTY = (0, 0, 0), (90, 90, 90), (179, 38, 30), (238, 238, 238)
_MOST_PIXELS = 250_000_000
_COLUMNS = 8
"""Pictures side by side in the sheet of one class."""


@dataclass(frozen=True)
class Cell:
    """A picture with lines of text under it. mark: draws a tick or a cross. wrong: its last line is in red."""

    png: bytes | None
    lines: tuple[str, ...] = ()
    mark: bool | None = None
    wrong: bool = False


@dataclass(frozen=True)
class Line:
    """A row of pictures; None leaves a gap. label: what stands before it, line by line."""

    label: tuple[str, ...]
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Sheet:
    """Rows under column heads. rule: a line stands before this column."""

    lines: Sequence[Line]
    heads: Sequence[str] = field(default_factory=list)
    rule: int | None = None


def night_and_day(rows: Sequence[tuple[str, View | None]], class_id: int | None = None) -> Sheet:
    """A row a model; a column a sample of one class, or, without a class, the first sample of each."""
    if class_id is not None:
        lines = [Line((model,), [Cell(shot.png) for shot in _shots(view, class_id)]) for model, view in rows]
        return Sheet(lines, [f"sample {i + 1}" for i in range(max(len(line.cells) for line in lines))])
    classes = _classes(rows)
    firsts = [(model, [_first(view, g.class_id) for g in classes]) for model, view in rows]
    return Sheet(
        [Line((m,), [Cell(s.png) if s else None for s in shots]) for m, shots in firsts], [g.name for g in classes]
    )


def samples(view: View, class_id: int | None = None) -> Sheet:
    """Every sample with the model's confidence, and whether both evaluators recognise it; a row a class."""

    def cells(group: Group) -> list[Cell]:
        return [Cell(s.png, (_percent(s.confidence),), s.recognised) for s in group.shots]

    if class_id is None:
        return Sheet([Line((g.name,), cells(g)) for g in view.groups])
    group = view.group(class_id)
    found = cells(group) if group else []
    return Sheet([Line((), found[i : i + _COLUMNS]) for i in range(0, len(found), _COLUMNS)])


def nearest(view: View, space: str, class_id: int | None = None) -> Sheet:
    """A reconstruction, its nearest members in order, its nearest non-member; a row a sample, or a class."""
    groups = [g for g in view.groups if class_id is None or g.class_id == class_id]
    shots = [(g, shot) for g in groups for shot in (g.shots if class_id is not None else g.shots[:1])]
    width = max((len(shot.near.get((space, "in"), ())) for _, shot in shots), default=0)
    lines = []
    for g, shot in shots:
        near = {side: [_neighbor(n.cosine, n.picture.png, n.picture.class_name, n.picture.class_id != g.class_id)
                       for n in shot.near.get((space, side), ())] for side in ("in", "out")}  # fmt: skip
        gap = [None] * (width - len(near["in"]))
        label = (g.name,) if class_id is None else (f"sample {shot.number + 1}",)
        lines.append(Line(label, [Cell(shot.png), *near["in"], *gap, *near["out"]]))
    heads = ["reconstruction", *(f"member {i + 1}" for i in range(width)), "non-member"]
    return Sheet(lines, heads, rule=1 + width)


def exposed(view: View, space: str) -> Sheet:
    """The members that are the nearest most often, and the non-members beside them, with their hits."""
    lines = []
    for side, name in (("in", "members"), ("out", "non-members")):
        found = view.exposed.get((space, side))
        if found is not None:
            label = (name, f"{found.expected:.2g} expected")
            lines.append(Line(label, [Cell(p.png, (f"{count} hits", p.class_name)) for p, count in found.hits]))
    return Sheet(lines)


def means(rows: Sequence[tuple[str, View | None]]) -> Sheet:
    """The mean member of each class, and the first reconstruction of every model with its correlation to it."""
    classes = _classes(rows)
    lines = [Line(("mean member",), [Cell(g.mean) for g in classes])]
    for model, view in rows:
        shots = [_first(view, g.class_id) for g in classes]
        label = (model, f"mean r {_decimal(view.correlation)}") if view else (model,)
        lines.append(Line(label, [Cell(s.png, (_decimal(s.correlation),)) if s else None for s in shots]))
    return Sheet(lines, [g.name for g in classes])


def _classes(rows: Sequence[tuple[str, View | None]]) -> list[Group]:
    found = {g.class_id: g for _, view in reversed(rows) if view for g in view.groups}
    return sorted(found.values(), key=lambda g: (g.class_id is None, g.class_id or 0))


def _shots(view: View | None, class_id: int | None) -> Sequence[Shot]:
    group = view.group(class_id) if view else None
    return group.shots if group else []


def _first(view: View | None, class_id: int | None) -> Shot | None:
    return next(iter(_shots(view, class_id)), None)


def _neighbor(cosine: float | None, png: bytes | None, name: str, wrong: bool) -> Cell:
    return Cell(png, (_decimal(cosine), name), wrong=wrong)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f}%"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def draw(sheet: Sheet, scale: int | None = None) -> Image.Image:
    """The sheet as an RGB image. scale: pixels of the sheet a pixel of a picture; None: pictures of 9.5 mm."""
    return _Drawing(sheet, scale).image


def save(image: Image.Image, path: Path) -> None:
    """A PNG of equal bytes for equal images, marked with 300 dots an inch."""
    image.save(path, format="PNG", dpi=(DPI, DPI))


class _Drawing:
    def __init__(self, sheet: Sheet, scale: int | None) -> None:
        self._sheet = sheet
        pictures: dict[bytes, Image.Image] = {}
        pixels = 0
        for png in dict.fromkeys(c.png for line in sheet.lines for c in line.cells if c and c.png):
            pictures[png] = _opened(png)
            pixels += pictures[png].width * pictures[png].height
            _check_size(pixels)
        width, height = (max((p.size[i] for p in pictures.values()), default=28) for i in (0, 1))
        scale = scale or -(-_SIDE // max(width, height))
        self._cell = (width * scale, height * scale)
        _check_size(width * height * scale**2 * len(pictures))
        self._pictures = {
            png: p.resize((p.width * scale, p.height * scale), Image.Resampling.NEAREST) for png, p in pictures.items()
        }
        unit = max(self._cell) / _SIDE
        self._size, self._gap = max(10, round(24 * unit)), max(2, round(8 * unit))
        font = ImageFont.load_default(self._size)
        assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
        self._font, self._step = font, round(1.2 * self._size)
        self._layout()

    def _layout(self) -> None:
        sheet, gap, (width, height) = self._sheet, self._gap, self._cell
        num = max([len(sheet.heads), *(len(line.cells) for line in sheet.lines)], default=0)
        columns = [width] * num
        for i in range(num):
            texts = [t for line in sheet.lines if i < len(line.cells) and (c := line.cells[i]) for t in c.lines]
            marks = any(c and c.mark is not None for line in sheet.lines for c in line.cells[i : i + 1])
            texts = [self._fit(t, 1.5) for t in (*texts, *sheet.heads[i : i + 1])]
            columns[i] = max(width, *(self._wide(t) + marks * self._size for t in texts), 0)
        label = max((self._wide(self._fit(t, 5)) for line in sheet.lines for t in line.label), default=0)
        x = gap + (label + 2 * gap if label else 0)
        self._left = []
        for i, wide in enumerate(columns):
            x += 3 * gap if i == sheet.rule else 0
            self._left.append(x)
            x += wide + gap
        y = gap + (self._step if sheet.heads else 0)
        tops = []
        for line in sheet.lines:
            tops.append(y)
            under = max((len(c.lines) for c in line.cells if c), default=0)
            y += max(height + under * self._step, len(line.label) * self._step) + gap + (gap if under else 0)
        _check_size(x * y)
        self.image = Image.new("RGB", (x, y), "white")
        self._pen = ImageDraw.Draw(self.image)
        for left, head in zip(self._left, sheet.heads, strict=False):
            self._text(left, gap, self._fit(head, 1.5), _QUIET)
        for top, line in zip(tops, sheet.lines, strict=True):
            middle = top + max(0, (height - len(line.label) * self._step) // 2)
            for i, text in enumerate(line.label):
                self._text(gap, middle + i * self._step, self._fit(text, 5), _QUIET if i else _INK)
            for left, cell in zip(self._left, line.cells, strict=False):
                if cell:
                    self._draw(left, top, cell)
        if sheet.rule is not None and sheet.rule < num:
            at = self._left[sheet.rule] - 2 * gap
            self._pen.line([(at, gap), (at, y - gap)], fill=_QUIET, width=max(1, gap // 4))

    def _draw(self, left: int, top: int, cell: Cell) -> None:
        width, height = self._cell
        if cell.png:
            self.image.paste(self._pictures[cell.png], (left, top))
        else:
            self._pen.rectangle((left, top, left + width - 1, top + height - 1), fill=_EMPTY)
        y = top + height
        for i, text in enumerate(cell.lines):
            wrong = cell.wrong and i == len(cell.lines) - 1
            self._text(left, y + i * self._step, self._fit(text, 1.5), _WRONG if wrong else _INK)
        if cell.mark is not None:
            self._mark(left + self._wide(cell.lines[0] if cell.lines else "") + self._size // 4, y, cell.mark)

    def _mark(self, left: int, top: int, right: bool) -> None:
        """A tick or a cross, drawn, since fonts lack them."""
        s, width = self._size, max(1, self._size // 10)

        def at(x: float, y: float) -> tuple[float, float]:
            return left + x * s, top + y * s

        if right:
            self._pen.line([at(0, 0.65), at(0.2, 0.9), at(0.6, 0.35)], fill=(20, 112, 61), width=width)
        else:
            self._pen.line([at(0.05, 0.4), at(0.5, 0.9)], fill=_WRONG, width=width)
            self._pen.line([at(0.5, 0.4), at(0.05, 0.9)], fill=_WRONG, width=width)

    def _text(self, x: int, y: int, text: str, fill: tuple[int, int, int]) -> None:
        self._pen.text((x, y), text, fill=fill, font=self._font)

    def _wide(self, text: str) -> int:
        return round(self._font.getlength(text))

    def _fit(self, text: str, cells: float) -> str:
        """The text in one line, cut where it is wider than so many pictures."""
        text = "".join(c if c.isprintable() else " " for c in text)
        most = cells * max(self._cell[0], 4 * self._size)
        if self._wide(text) <= most:
            return text
        text = text[:200]
        while text and self._wide(text + "...") > most:
            text = text[:-1]
        return text + "..."


def _check_size(pixels: int) -> None:
    if pixels > _MOST_PIXELS:
        allowed = "fewer classes or models (--model, --attack), or a smaller --scale"
        raise ValueError(f"a sheet would have {pixels} pixels, and {_MOST_PIXELS} are the most; allowed: {allowed}")


def _opened(png: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(png)).convert("RGB")
    except OSError as error:
        raise ValueError(f"a picture of {len(png)} bytes cannot be read: {str(error).splitlines()[0]}") from error
