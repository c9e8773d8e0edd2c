"""How a notebook shows a report: the table with intervals, and the pictures."""

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from leaderboard import contact_sheets
from leaderboard.paper_figures import load
from leaderboard.picture_views import across

if TYPE_CHECKING:
    from benchmark.interface.report import Report

_SCALE = 2


def report_html(report: "Report") -> str:
    """A table with a row a measure and a column a model, then a picture; no script, no request to anywhere."""
    rows = cast(list[dict[str, Any]], report.table.to_dict("records"))
    heads = "".join(f"<th>{html.escape(str(row['model']))}</th>" for row in rows)
    names = [name for name in report.table.columns if f"{name}_low" in report.table.columns]
    lines = [
        f"<tr><td>{html.escape(name)}</td>{''.join(f'<td>{_cell(row, name)}</td>' for row in rows)}</tr>"
        for name in names
    ]
    parts = [
        f"<p>{html.escape(report.suite)}: 95% intervals; {_controls(rows)}</p>",
        f"<table><thead><tr><th>measure</th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>",
    ]
    if failed := len(report.failures):
        parts.append(f"<p>{failed} trials failed: see <code>failures</code></p>")
    if report.pictures:
        image = base64.b64encode(report.pictures).decode()
        parts.append(f'<p>The first reconstruction of each class</p><img src="data:image/png;base64,{image}">')
    return "\n".join(parts)


def contact_sheet(site: Path, suite: str) -> bytes:
    """The primary inversion of a suite as a PNG. site: with the page's tables. b"" where there are no pictures."""
    found = [pictured for pictured in load(site) if pictured.name == suite and pictured.views]
    if not found:
        return b""
    first = found[0].views[0]
    sheet = contact_sheets.night_and_day(across(found[0].views, found[0].models, first.method, first.replica))
    stream = io.BytesIO()
    contact_sheets.draw(sheet, _SCALE).save(stream, format="PNG")
    return stream.getvalue()


def _cell(row: dict[str, Any], name: str) -> str:
    value, low, high = (row[key] for key in (name, f"{name}_low", f"{name}_high"))
    if value is None or value != value:  # NaN: pandas has it for an empty cell
        return "-"
    interval = "" if low is None or low != low else f" [{low:.3f}, {high:.3f}]"
    return f"{value:.3f}{interval}"


def _controls(rows: list[dict[str, Any]]) -> str:
    passed = [row["controls_passed"] for row in rows]
    if any(value is None or value != value for value in passed):
        return "controls not measured yet"
    return "controls passed" if all(passed) else "<b>controls FAILED: do not believe the in_rate</b>"
