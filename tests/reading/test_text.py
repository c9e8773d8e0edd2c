from pathlib import Path

import pytest

from benchmark.reading.text import printable, read_text, shown


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_no_text(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "members.csv"
    path.write_bytes(start + "0\n1\né".encode())
    assert read_text(path) == "0\n1\né"


def test_what_is_not_utf8_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"name: a\ndata: \xe9t\xe9\n")
    with pytest.raises(ValueError, match="line 2 is not UTF-8 .byte 0xe9."):
        read_text(path)


def test_a_text_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"a" * 11)
    assert read_text(path, most_bytes=11) == "a" * 11
    with pytest.raises(ValueError, match="larger than"):
        read_text(path, most_bytes=10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("half \ud800", "half \\ud800"),
        ("\x9b31m\x07", "\\x9b31m\\x07"),
        ("\u202eabc", "\\u202eabc"),
        ("two\nlines\tand a tab, é, 猫", "two\nlines\tand a tab, é, 猫"),
    ],
)
def test_nothing_steers_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected
    printable(text).encode("utf-8")


def test_long_values_are_cut() -> None:
    assert shown("a" * 200, most=5) == "'aaaa..."
    assert shown({"a": 1}) == "{'a': 1}"
    assert shown("\x1b") == "'\\x1b'"
    assert shown(10**5000) == "a value of type int"
