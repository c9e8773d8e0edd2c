"""Writes the HTML of table cells, of which a page has thousands: plain functions are many times as fast as macros."""

from markupsafe import Markup, escape


def why(reason: str) -> Markup:
    """An empty cell that says why it is."""
    text = escape(reason)
    return Markup(
        f'<button type="button" class="why" data-tip="{text}">–<span class="sr"> empty: {text}</span></button>'
    )


def measured(text: str, interval: str, note: str = "", n: int | None = None) -> Markup:
    """A number with its interval, the number of units behind it, and a mark where it is to be doubted."""
    parts = [f'<span class="value">{escape(text)}</span>']
    if note:
        doubt = escape(note)
        parts.append(
            f'<button type="button" class="doubt" data-tip="{doubt}">†<span class="sr"> note: {doubt}</span></button>'
        )
    if interval or n is not None:
        ends = f"[{escape(interval)}]" if interval else ""
        parts.append(f'<span class="interval">{ends}{"" if n is None else f" n = {n:,}"}</span>')
    return Markup("".join(parts))
