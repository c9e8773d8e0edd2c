"""Text from outside: files that users wrote, and values that strangers wrote, made safe to read and to show."""

import re
from pathlib import Path

MOST_BYTES = 64 * 2**20
"""Of a text file that a user names: a suite, a list of members, a file of labels."""
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control and escape characters, marks that turn the direction of a line, and halves of surrogate pairs."""


def read_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file that a user wrote: UTF-8, with or without a byte order mark.

    Raises OSError if it cannot be read, and ValueError, without the file's name, if it is too large or not UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it is larger than {most_bytes / 2**20:.3g} MiB; allowed: up to that")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8 (byte {content[error.start]:#04x}); allowed: UTF-8") from error


def printable(text: str) -> str:
    """The text without anything that steers a terminal or cannot be encoded; line ends and tabs stay."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "backslashreplace").decode("ascii"), text)


def shown(value: object, most: int = 80) -> str:
    """`repr` of a value for a message in one line: its beginning, if it is longer than `most` characters."""
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # a number of thousands of digits; lists that hold themselves a thousandfold
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def shortened(text: str, most: int) -> str:
    """The text, without its middle where it is longer than `most` characters."""
    half = most // 2 - 10
    return text if len(text) <= most else f"{text[:half]}\n...\n{text[-half:]}"
