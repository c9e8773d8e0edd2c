"""Draws the charts of a model's page as SVG: they need no script, print well, and follow the page's colours."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

Points = Sequence[tuple[float, float]]
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 480, 320, 58, 46, 12, 22
_SERIES = 6
"""Colours of the page; further lines repeat them, dashed."""


class _Axis:
    """Values -> places in pixels; logarithmic where `log`, with what is below the low end on it."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool = False) -> None:
        self._low, self._high, self._log = low, high, log
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        value = min(max(value, self._low), self._high)
        low, high = self._low, self._high
        if self._log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return round(self._start + (self._end - self._start) * (value - low) / (high - low), 1)


def style(number: int) -> str:
    """Classes of the line with this number."""
    return f"series-{number % _SERIES + 1}" + (" dashed" if number >= _SERIES else "")


def roc(curves: Mapping[str, Points]) -> Markup:
    """ROC curves on logarithmic axes. curves: attack -> (false-positive rate, true-positive rate) points, ascending."""
    least = min((points[0][0] for points in curves.values()), default=0.1)
    decades = max(1, math.ceil(-math.log10(least) - 1e-9))
    low = 10.0**-decades
    x, y = _axes(low, 1, low, 1, log=True)
    ticks = [(10.0**-d, f"{100 * 10.0**-d:g}%") for d in range(decades, -1, -1)]
    lines = [_line("chance", [(low, low), (1, 1)], x, y)]
    lines += [_line(style(i), points, x, y, name) for i, (name, points) in enumerate(curves.items())]
    label = "ROC curves of the membership attacks on logarithmic axes: " + ", ".join(curves)
    return _chart(label, x, y, ticks, ticks, ("non-members called members", "members found"), lines)


def cloud(points: Points, label: str, names: tuple[str, str], y_ends: tuple[float, float]) -> Markup:
    """A scatter of memorisation, -1 to 1 across, against something. names: of the axes."""
    low = min([-0.25, *(px for px, _ in points)])
    x, y = _axes(low, 1, *y_ends)
    across = [(v, f"{v:g}") for v in (-1, -0.5, 0, 0.5, 1) if v >= low]
    up = [(v, f"{v:g}") for v in _round_steps(*y_ends)]
    dots = "".join(f"M{x(px):g} {y(py):g}h0" for px, py in points)
    zero = f'<path class="chance" d="M{x(0):g} {y(y_ends[0]):g}V{y(y_ends[1]):g}"/>'
    return _chart(label, x, y, across, up, names, [zero, f'<path class="dots" d="{dots}"/>'])


def by_epoch(curves: Mapping[str, Points], name: str, y_ends: tuple[float, float]) -> Markup:
    """Lines over epochs. curves: name -> (epoch from 1, value) points, ascending. name: what the values are."""
    last = max(epoch for points in curves.values() for epoch, _ in points)
    x, y = _axes(min(1, last - 1), last, *y_ends)
    across = [(v, f"{v:g}") for v in _round_steps(1, max(2, last)) if v == round(v) and v <= last]
    up = [(v, f"{v:g}") for v in _round_steps(*y_ends)]
    lines = [_line(style(i), points, x, y, each) for i, (each, points) in enumerate(curves.items())]
    return _chart(f"{name} by epoch: " + ", ".join(curves), x, y, across, up, ("epoch", name), lines)


def _axes(x_low: float, x_high: float, y_low: float, y_high: float, log: bool = False) -> tuple[_Axis, _Axis]:
    across = _Axis(x_low, x_high, _LEFT, _WIDTH - _RIGHT, log)
    return across, _Axis(y_low, y_high, _HEIGHT - _BOTTOM, _TOP, log)


def _round_steps(low: float, high: float) -> list[float]:
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9) / 2))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 5)
    return [round(i * step, 9) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _line(kind: str, points: Points, x: _Axis, y: _Axis, name: str = "") -> str:
    path = "L".join(f"{x(px):g} {y(py):g}" for px, py in points)
    title = f"<title>{escape(name)}</title>" if name else ""
    return f'<path class="{kind}" d="M{path}">{title}</path>'


def _chart(
    label: str,
    x: _Axis,
    y: _Axis,
    across: Sequence[tuple[float, str]],
    up: Sequence[tuple[float, str]],
    names: tuple[str, str],
    drawn: Sequence[str],
) -> Markup:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = [f'<path class="grid" d="M{x(v):g} {_TOP}V{bottom}"/>' for v, _ in across]
    parts += [f'<path class="grid" d="M{_LEFT} {y(v):g}H{right}"/>' for v, _ in up]
    parts += [f'<text x="{x(v):g}" y="{bottom + 16}" text-anchor="middle">{escape(t)}</text>' for v, t in across]
    parts += [f'<text x="{_LEFT - 6}" y="{y(v) + 4:g}" text-anchor="end">{escape(t)}</text>' for v, t in up]
    middle = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text class="axis" x="{middle[0]:g}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(names[0])}</text>'
        f'<text class="axis" transform="translate(13 {middle[1]:g}) rotate(-90)" text-anchor="middle">'
        f"{escape(names[1])}</text>"
    )
    body = "".join([*parts, *drawn])
    return Markup(
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">{body}</svg>'
    )
