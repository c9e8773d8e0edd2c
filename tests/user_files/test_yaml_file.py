"""YAML is bounded before anything is built of it: a few lines may stand for more than any machine holds."""

import time
from pathlib import Path
from typing import Any

import command
import pytest

from benchmark.planning.suite import load_suite
from benchmark.spec import SpecError
from benchmark.user_files.yaml_file import MOST_DEPTH, MOST_VALUES, plain, read_yaml


def bomb(levels: int = 20) -> str:
    """Anchors `a0`, `a1`, ...: each a list of ten times the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels: int = 40) -> str:
    lines = ["m0: &m0 {x: 1, y: 2}"]
    lines += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


TOO_MUCH = [
    (bomb() + "name: *a19", "line 5: this value unfolds to more than 100,000 values; allowed: up to that, aliases"),
    (merges() + "regime: *m39", "line 15: this value unfolds to more than 100,000 values; allowed: up to that"),
    ("a: &a ['" + "x" * 100_000 + "']\nb: [" + "*a, " * 100 + "]", "line 2: this value unfolds to more than 4,194,304"),
    ("&a [*a]", "line 1: this value holds itself; allowed: values that end"),
    ("tuned: &a {gradient: {softmax: *a}}", "line 1: this value holds itself"),
    ("&a {<<: *a}", "line 1: this value holds itself"),
    ("a: &a [1]\nb: &b [*a, &c [*b]]", "line 2: this value holds itself"),
    ("[" * 60 + "]" * 60, f"line 1: too many levels of nesting; allowed: {MOST_DEPTH}"),
    ("[" * 200_000, f"line 1: too many levels of nesting; allowed: {MOST_DEPTH}"),
    ("\n".join(f"{' ' * i}k:" for i in range(200)), f"line 50: too many levels of nesting; allowed: {MOST_DEPTH}"),
    (
        "".join(f"l{i}: &l{i} [{f'*l{i - 1}' if i else 1}]\n" for i in range(60)),
        f"line 50: too many levels of nesting; allowed: {MOST_DEPTH}",
    ),
]


@pytest.mark.parametrize(("text", "said"), TOO_MUCH, ids=[text[:30] for text, _ in TOO_MUCH])
def test_what_unfolds_to_too_much_is_refused_at_once(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    begin = time.process_time()
    with pytest.raises(SpecError) as error:
        load_suite(str(path))
    assert str(error.value).startswith(f"suite file {str(path)!r}: {said}") and len(str(error.value)) < 300
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("place", ["name", "data", "models.0.regime", "evasion.0.epsilon", "tuned", "prices", "seed"])
def test_a_bomb_is_refused_wherever_it_stands(tmp_path: Path, place: str) -> None:
    path = command.write(tmp_path, command.tiny((place, "BOMB")))
    path.write_text(bomb() + path.read_text().replace("BOMB", "*a19").replace("'*a19'", "*a19"))
    with pytest.raises(SpecError, match="unfolds to more than"):
        load_suite(str(path))


def test_the_parsing_of_too_many_values_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.user_files.yaml_file.MOST_VALUES", 50)
    with pytest.raises(SpecError, match="line 50: the file has more than 50 values; allowed: up to that"):
        plain("- 1\n" * 100_000 + "- [unclosed")
    assert plain("- 1\n" * 49) == [1] * 49
    with pytest.raises(SpecError, match="line 2: this value unfolds to more than 50 values"):
        plain(f"- &a [{'1, ' * 20}]\n- [*a, *a, *a]")


def test_aliases_within_bounds_stay_what_they_were() -> None:
    assert plain("a: &a {x: 1}\nb: [*a, *a]\nc: {<<: *a, y: 2}") == {
        "a": {"x": 1},
        "b": [{"x": 1}] * 2,
        "c": {"x": 1, "y": 2},
    }
    assert plain(bomb(4))["a3"][9][9][9] == ["x"] * 10 and MOST_VALUES > 11_111


UNREADABLE = [
    ("a: !!int x", "line 1: 'x' is no int that can be read"),
    ("a: !!int ''", "line 1: '' is no int that can be read"),
    ("a: 1\nb: 0x_", "line 2: '0x_' is no int that can be read"),
    ("a: 1" + "0" * 5000, "line 1: '1000000000"),
    ("a: !!float x", "line 1: 'x' is no float that can be read"),
    ("a: !!bool q", "line 1: 'q' is no bool that can be read"),
    ("a: 2001-99-99", "line 1: '2001-99-99' is no timestamp that can be read"),
    ("a: !!timestamp x", "line 1: 'x' is no timestamp that can be read"),
    ("a: !" + "x" * 1000, "not YAML: line 1, column 4: could not determine a constructor for the tag '!xxx"),
]


@pytest.mark.parametrize(("text", "said"), UNREADABLE, ids=[text[:20] for text, _ in UNREADABLE])
def test_a_scalar_that_is_not_what_it_says_is_named(text: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        plain(text)
    assert str(error.value).startswith(said) and "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize(("text", "value"), [("1:30", 90), ("0777", 511), ("0o17", "0o17"), ("1_000", 1000)])
def test_the_integers_of_yaml_are_read_as_ever(text: str, value: Any) -> None:
    assert plain(f"a: {text}") == {"a": value}


def test_a_byte_order_mark_is_no_part_of_a_suite(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + command.TINY.read_bytes())
    suite, text = load_suite(str(path))
    assert suite == load_suite(str(command.TINY))[0] and text == command.TINY.read_text()
    quoted = tmp_path / "quoted.yaml"
    quoted.write_bytes(b'\xef\xbb\xbf"name": a\r\n')
    assert read_yaml(quoted)[0] == {"name": "a"}
    path.write_text("name: f\xfcr", encoding="latin-1")
    with pytest.raises(SpecError, match=r"line 1 is not UTF-8 \(byte 0xfc\); allowed: UTF-8"):
        load_suite(str(path))
    path.write_text("# " + "x" * 5 * 2**20)
    with pytest.raises(SpecError, match="it is larger than 4 MiB; allowed: up to that"):
        load_suite(str(path))
