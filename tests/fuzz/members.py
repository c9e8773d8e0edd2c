"""Files of members: texts and arrays of any kind. What is read is what an independent, strict reading finds there."""

import csv
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from benchmark.data.members.member_lists import read_members

from .harness import Surface, asked, wrong
from .values import odd_texts, spliced, splices

NUM_TRAIN = 60
DTYPES = (
    "u1", "i1", "i2", ">i4", "i8", "u8", "f2", "f4", "f8", "g", "?", "c8", "U3", "S3", "M8[s]", "m8[s]", "O", "V4",
    [("members", "i8")], [("a", "i4", (2,))],
)  # fmt: skip
SHAPES = ((), (0,), (1,), (5,), (60,), (61,), (5, 1), (1, 5), (0, 3), (2, 2, 2))
NAMES = ("members", "member", "Members", "arr_0", "images", "a/b", "../x", "é", "")
TOKENS = (
    b"(10000000000000,)", b"(-1,)", b"(5, )", b"'<f8'", b"'|O'", b"'>i8'", b"True", b"\x93NUMPY", b"\x02\x00",
    b"PK\x03\x04", b"PK\x05\x06", b"\xff\xff\xff\xff", b"\x00" * 8, b"' + '", b"{}", b"\n", b",", b'"',
    b"\xef\xbb\xbf", b"\xff\xfe", b"0,1",
)  # fmt: skip

_index = st.one_of(
    st.integers(0, NUM_TRAIN - 1).map(str),
    st.sampled_from(
        ["-1", "60", "007", "+3", " 5 ", "5.0", "1e1", "1_0", "0x1", "", " ", "nan", "٣", "9" * 19, "9" * 5000]
    ),
    odd_texts(),
)
_header = st.sampled_from(
    [
        "member",
        "members",
        "Members",
        "index",
        "id",
        "image",
        "",
        '""',
        ",member",
        ",members,x",
        "members,members",
        "x,y",
        "0",
        "\ufeff",
    ]
)


@st.composite
def _texts(draw: st.DrawFn) -> bytes:
    """Columns of indices: with or without a header, as pandas, Excel and people write them."""
    sound = st.lists(st.integers(0, NUM_TRAIN - 1).map(str), min_size=1, max_size=8, unique=True)
    ids = draw(st.one_of(sound, sound, st.lists(_index, max_size=8)))
    comma = draw(st.sampled_from([",", ",", ";", "\t", " ", ", "]))
    before = draw(st.integers(0, 1)) * [str]  # pandas puts the number of the row first
    after = draw(st.sampled_from([None, None, "x", "3"]))
    rows = [
        comma.join([*[kind(i) for kind in before], index, *([] if after is None else [after])])
        for i, index in enumerate(ids)
    ]
    if draw(st.booleans()):
        rows.insert(0, draw(_header))
    if draw(st.booleans()) and rows:
        rows.insert(draw(st.integers(0, len(rows))), draw(st.sampled_from(["", " ", "#", "# members", ",", '"', ",,"])))
    quoted = [f'"{row}"' if draw(st.integers(0, 9)) == 0 else row for row in rows]
    text = draw(st.sampled_from(["\n", "\n", "\r\n", "\r", ""])).join(quoted) + draw(
        st.sampled_from(["\n", "", "\n\n"])
    )
    start = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"]))
    code = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "latin-1"]))
    return start + text.encode(code, "replace" if code == "latin-1" else "surrogatepass")


@st.composite
def _arrays(draw: st.DrawFn) -> tuple[Any, tuple[int, ...], list[int]]:
    values = st.one_of(
        st.integers(0, NUM_TRAIN - 1), st.integers(-3, 70), st.sampled_from([2**31, 2**63 - 1, -(2**63)])
    )
    kinds = st.one_of(st.sampled_from(["i8", "i4", "u1"]), st.sampled_from(DTYPES))
    shapes = st.one_of(st.just((5,)), st.sampled_from(SHAPES))
    return draw(kinds), draw(shapes), draw(st.lists(values, min_size=1, max_size=6, unique=True))


_mostly_whole = st.one_of(st.just([]), st.just([]), splices(TOKENS))
_suffixes = st.sampled_from([".txt", ".csv", ".npy", ".npz"])
CASES = st.one_of(
    st.tuples(st.sampled_from([".txt", ".csv", ".csv", ".CSV"]), _texts(), st.just([])),
    st.tuples(st.sampled_from([".txt", ".csv", ".csv"]), _texts(), st.just([])),
    st.tuples(st.just(".npy"), _arrays(), _mostly_whole),
    st.tuples(
        st.just(".npz"),
        st.dictionaries(st.sampled_from(NAMES), _arrays(), max_size=3),
        _mostly_whole,
    ),
    st.tuples(_suffixes, st.one_of(_texts(), _arrays(), st.binary(max_size=60)), _mostly_whole),
)


def content_of(case: Any) -> bytes:
    _, what, changes = case
    content = io.BytesIO()
    if isinstance(what, bytes):
        content.write(what)
    elif isinstance(what, dict):
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in what.items():
                inner = io.BytesIO()
                np.save(inner, array_of(array), allow_pickle=True)
                archive.writestr(f"{name}.npy", inner.getvalue())
    else:
        np.save(content, array_of(what), allow_pickle=True)
    return spliced(content.getvalue(), changes)


def array_of(described: tuple[Any, tuple[int, ...], list[int]]) -> np.ndarray[Any, Any]:
    kind, shape, values = described
    dtype = np.dtype(kind)
    if dtype.names is not None or dtype.kind == "V":
        return np.zeros(shape, dtype)
    with np.errstate(all="ignore"):
        return np.resize(np.array(values, object if kind == "O" else np.int64), shape).astype(dtype)


def check(case: Any, folder: Path) -> None:
    suffix, content = case[0], content_of(case)
    path = folder / f"members{suffix}"
    path.write_bytes(content)
    found = asked(read_members, path, NUM_TRAIN).tolist()
    if found != sorted(set(found)) or not found or not 0 <= found[0] <= found[-1] < NUM_TRAIN:
        wrong("members are ascending ids of training images", str(found))
    expected = {".txt": _of_text, ".csv": _of_csv, ".npy": _of_npy, ".npz": _of_npz}[suffix.lower()](content)
    if expected is None:
        wrong(f"a {suffix.lower()} that may mean several things is refused", f"{content!r} gave {found}")
    if sorted(expected) != found:
        wrong(f"a {suffix.lower()} is read as it is written", f"{content!r} gave {found}, and holds {sorted(expected)}")


def _of_text(content: bytes) -> list[int] | None:
    """All numbers of the file, where it has nothing but numbers."""
    text = content.decode("utf-8-sig")
    cells = [cell for cell in re.split(r"[\s,]+", text.replace('"', " ")) if cell]
    return None if any(not re.fullmatch(r"[+-]?[0-9]+", cell) for cell in cells) else [int(cell) for cell in cells]


def _of_csv(content: bytes) -> list[int] | None:
    """The only column, or the one that is called so; None where there is neither."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""))]
    rows = [row[: max(i for i, cell in enumerate(row) if cell) + 1] for row in rows if any(row)]  # `0,` is 0
    first = [cell.lower() for cell in rows[0]]
    named = [i for i, cell in enumerate(first) if cell in ("member", "members")]
    if any(len(row) > 1 for row in rows) and len(named) != 1:
        return None
    column = named[0] if named else 0
    header = not re.fullmatch(r"[+-]?[0-9]+", first[column])
    cells = [row[column] if column < len(row) else "" for row in rows[header:]]
    return None if any(not re.fullmatch(r"[+-]?[0-9]+", cell) for cell in cells) else [int(cell) for cell in cells]


def _of_npy(content: bytes) -> list[int] | None:
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        return _of_npz(content)
    return _of_array(array)


def _of_npz(content: bytes) -> list[int] | None:
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if isinstance(found, np.ndarray):
        return _of_npy(content)
    name = "members" if "members" in found.files else found.files[0] if len(found.files) == 1 else None
    return None if name is None else _of_array(found[name])


def _of_array(array: np.ndarray[Any, Any]) -> list[int] | None:
    """Integers, or one bool for each training image."""
    if array.dtype == bool and array.shape == (NUM_TRAIN,):
        array = array.nonzero()[0]
    return [int(value) for value in array] if array.ndim == 1 and array.dtype.kind in "iu" else None


SURFACE = Surface("members", CASES, check, examples=300)
