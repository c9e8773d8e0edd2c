"""What inputs are made of: values that nobody expects, and small changes to what is sound."""

import copy
import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Path = tuple[str | int, ...]
TEXTS = (
    "", " ", "a", "a\nb", "\t", "\x00", "\x1b[2J\x1b[31m", "\x9b31m", "\u202eabc", "\u2028", "\ud800", "\ufeff", "é",
    "猫", "NaN", "inf", "None", "true", "1", "-1", "8/255", "1/0", "1e400", "../../x", "/", "..", "[bold]x[/bold]",
    "[/]", "<img src=x onerror=alert(1)>", "{{ 7 * 7 }}", "%s%n", "'\"\\", "9" * 400, "a" * 300, "a" * 100_000,
    "[" * 2000,
)  # fmt: skip
"""Texts that have a meaning to some reader, or none to any."""
NUMBERS = (
    0, 1, -1, 2, 7, 255, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 2**70, 10**30, 10**400,
    10**4000, 0.0, -0.0, 0.5, 1.5, -0.5, 1e-300, 5e-324, 1e300, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip


def chosen(values: Sequence[Any]) -> SearchStrategy[Any]:
    """One of these. As `sampled_from`, which writes them all down in its messages: some are large."""
    return st.integers(0, len(values) - 1).map(lambda i: values[i])


def odd_texts() -> SearchStrategy[str]:
    return st.one_of(chosen(TEXTS), st.text(max_size=20))


def odd_scalars() -> SearchStrategy[Any]:
    return st.one_of(st.none(), st.booleans(), chosen(NUMBERS), odd_texts(), st.integers(), st.floats())


def odd_json() -> SearchStrategy[Any]:
    """Values that JSON can write, as Python does."""
    return st.recursive(odd_scalars(), lambda inner: _containers(odd_texts(), inner), max_leaves=5)


def odd_yaml() -> SearchStrategy[Any]:
    """Values that YAML can write: those of JSON, times, bytes, keys of any kind."""
    times = st.sampled_from([datetime.date(2001, 2, 3), datetime.datetime(2001, 2, 3, 4, 5, tzinfo=datetime.UTC)])
    scalars = st.one_of(odd_scalars(), times, st.binary(max_size=4))
    return st.recursive(scalars, lambda inner: _containers(scalars, inner), max_leaves=5)


def _containers(keys: SearchStrategy[Any], inner: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3))


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    """Every place in nested lists and mappings."""
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*at, key))


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


Edit = tuple[str, Path, Any]


def edits(value: Any, odd: SearchStrategy[Any], most: int = 3) -> SearchStrategy[list[Edit]]:
    """Changes at places of a value, for `edited`."""
    everywhere = list(places(value))
    keys = sorted({key for path in everywhere for key in path if isinstance(key, str)})
    where = st.sampled_from(everywhere)
    one = st.one_of(
        st.tuples(st.just("set"), where, odd),
        st.tuples(st.just("set"), where, odd),
        st.tuples(st.just("copy"), where, where),
        st.tuples(st.just("add"), where, st.tuples(st.one_of(st.sampled_from(keys), odd_texts()), odd)),
        st.tuples(st.just("drop"), where, st.none()),
        st.tuples(st.just("repeat"), where, st.sampled_from([2, 3, 50])),
    )
    return st.lists(one, min_size=1, max_size=most)


def edited(value: Any, changes: Sequence[Edit]) -> Any:
    """The value with the changes, as far as each still has its place."""
    whole = {"": copy.deepcopy(value)}
    for what, path, new in changes:
        try:
            *way, last = ("", *path)
            owner = at(whole, tuple(way))
            if what == "set":
                owner[last] = new
            elif what == "copy":
                owner[last] = copy.deepcopy(at(value, new))
            elif what == "add" and isinstance(owner[last], dict):
                owner[last][new[0]] = new[1]
            elif what == "add":
                owner[last].append(new[1])
            elif what == "drop":
                del owner[last]
            elif what == "repeat":
                owner[last] = owner[last] * new
        except (KeyError, IndexError, TypeError, AttributeError, OverflowError):
            continue  # an earlier change took the place away
    return whole.get("")


Splice = tuple[float, int, bytes]


def splices(tokens: Sequence[bytes] = (), most: int = 3) -> SearchStrategy[list[Splice]]:
    """Changes of bytes, for `spliced`: (where, how many bytes go, what comes), mostly near the ends of a file.

    where: from 0, the beginning, to 1, the end.
    """
    where = st.one_of(
        st.floats(0, 1), st.floats(0, 0.02), st.floats(0.98, 1), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
    )
    new = st.binary(max_size=8)
    given = st.one_of(chosen(tokens), new) if tokens else new
    gone = st.sampled_from([0, 1, 1, 2, 4, 8, 100, 10**9])
    return st.lists(st.tuples(where, gone, given), min_size=1, max_size=most)


def spliced(content: bytes, changes: Sequence[Splice]) -> bytes:
    for where, gone, new in changes:
        start = round(where * len(content))
        content = content[:start] + new + content[start + gone :]
    return content


def flipped(content: bytes, where: float, bit: int) -> bytes:
    """With one bit another; the size stays."""
    place = min(int(where * len(content)), len(content) - 1)
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
