"""Makes any text one harmless line of the terminal: names from files could hold control characters or line breaks."""

from rich.text import Text

from benchmark.reading.text import printable


def line(text: object, style: str = "", *, cut: bool = False) -> Text:
    """The text as one harmless line. cut: with an ellipsis where there is no room for all of it."""
    plain = " ".join(printable(str(text)).splitlines())
    return Text(plain, style, no_wrap=cut, overflow="ellipsis") if cut else Text(plain, style)
