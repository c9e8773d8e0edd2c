"""Writes the table of metrics into METRICS.md, between its two marks: `python docs/make_reference.py`."""

from pathlib import Path

from benchmark.metrics import CONSTRUCTS, METRICS, Metric

PAGE = Path(__file__).parent / "METRICS.md"
BEGIN, END = "<!-- reference: written by docs/make_reference.py -->", "<!-- end of the reference -->"
_HEADS = ("metric", "what it is", "unit", "better", "null", "from", "over replicas", "95% interval", "ranked")


def reference() -> str:
    """A Markdown table a construct, of every metric in the order of the page."""
    parts = []
    for construct in CONSTRUCTS:
        lines = [f"**{construct}**\n", "| " + " | ".join(_HEADS) + " |", "|---" * len(_HEADS) + "|"]
        for metric in sorted((m for m in METRICS if m.construct == construct), key=lambda m: m.context):
            lines.append("| " + " | ".join(_cells(metric)) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _cells(metric: Metric) -> tuple[str, ...]:
    better = {"up": "higher", "down": "lower", "": ""}[metric.better]
    null = "" if metric.null is None else f"{metric.null:g}"
    place = f"`{metric.stage}`" + (f", {metric.space}" if metric.space else "")
    if metric.method:
        place += f", {metric.method}"
    name = f"`{metric.name}`" + (" *" if metric.interval else "") + ("" if metric.column else " (results only)")
    meaning = metric.meaning.replace("|", "\\|")
    ranked = "yes" if metric.ranked else ""
    return (name, meaning, metric.unit, better, null, place, metric.join.how, metric.join.interval or "none", ranked)


def written(page: str) -> str:
    """The text of METRICS.md with the table as it is now. Raises ValueError where the marks are not there once."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"{PAGE.name}: the marks of the reference; allowed: {BEGIN!r} and {END!r}, once each")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{reference()}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
