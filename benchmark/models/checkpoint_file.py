"""Reads weight files from unknown sources by their content, without running any code from them.

Nothing is unpacked, and no tensor looked at, before it is known to be about as large as its file.
"""

import mmap
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from benchmark.reading.text import printable, shown

MOST_UNFOLDED = 8
"""How many times its size a file may hold. Torch packs nothing, but tensors may share their numbers."""
_SLACK = 2**20
"""Bytes that a small file may hold beyond that."""
_MOST_INDEX = 16 * 2**20
"""Bytes of names and shapes in a file; a network of a thousand tensors has a tenth of one MiB."""
_OTHERS = (
    (b"version https://git-lfs", "it is a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
    (b"\x1f\x8b", "it is packed with gzip; unpack it first"),
    (b"BZh", "it is packed with bzip2; unpack it first"),
    (b"\xfd7zXZ\0", "it is packed with xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "it is packed with zstd; unpack it first"),
    (b"7z\xbc\xaf", "it is packed with 7-Zip; unpack it first"),
    (b"Rar!", "it is packed with RAR; unpack it first"),
    (b"\x89HDF", "it is an HDF5 file, as Keras writes them"),
    (b"\x93NUMPY", "it is an array of numpy"),
    (b"GGUF", "it is a GGUF file, as llama.cpp reads them"),
    (b"<!doctype html", "it is a web page, saved in place of a download"),
    (b"<html", "it is a web page, saved in place of a download"),
    (b"<?xml", "it is XML, maybe a server's answer in place of a download"),
)
"""How files begin that are often taken for weights, in lower case where they are text, and what they are."""
_MALFORMED = (
    SafetensorError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError,
    AssertionError, MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What torch, zipfile and safetensors raise on damaged files."""


def load(path: Path) -> Any:
    """The content of a file of safetensors, or one saved by torch; its suffix says nothing.

    Raises ValueError, in one line and without the path, for what is neither, is damaged, would run code, or would hold
    far more than its size. OSError: as `open`.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    with path.open("rb") as file:
        start = file.read(512)
    try:
        if start[8:9] == b"{":
            _check_header(start, path)
            return load_file(path)
        if start.startswith(b"PK\3\4"):
            _check_archive(path)
        elif start.startswith(b"\x80"):  # a pickle, and torch's older format is a row of them
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                _check_pickle(content)
        else:
            raise _Refused(_other(start))
        # Torch looks at the suffix of a path, and warns of pickle protocols that it does not write itself.
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            return torch.load(file, map_location="cpu", weights_only=True)
    except _Refused:
        raise
    except pickle.UnpicklingError as error:
        raise ValueError(_unsafe(error)) from error
    except _MALFORMED as error:
        raise ValueError(f"truncated, or no file of torch or safetensors ({_line(error)})") from error


def most_bytes(path: Path) -> int:
    """How many bytes a file of this size may unpack to: more than that is a trap for memory."""
    return MOST_UNFOLDED * path.stat().st_size + _SLACK


class _Refused(ValueError):
    """What was found before anything was read."""


def _other(start: bytes) -> str:
    """What a file is whose beginning is neither safetensors' nor torch's."""
    if not start:
        return "it is empty"
    if start[257:262] == b"ustar":
        return "it is a tar archive; unpack it first"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = (what for begin, what in _OTHERS if start.startswith(begin) or text.startswith(begin))
    return next(found, f"no file of torch or safetensors, it begins with {shown(start[:16])}")


def _check_header(start: bytes, path: Path) -> None:
    """Of safetensors: its length, then that many bytes of JSON. The rest of it safetensors checks itself."""
    length, size = int.from_bytes(start[:8], "little"), path.stat().st_size
    if length > size - 8:
        raise _Refused(f"truncated, or no safetensors: a header of {length:,} bytes in a file of {size:,}")
    if length > _MOST_INDEX:
        raise _Refused(f"its header has {length:,} bytes; allowed: up to {_MOST_INDEX:,}")


def _check_archive(path: Path) -> None:
    """Of a zip file: that torch made it, and that it does not unfold to far more than it is."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
        names = {entry.filename.partition("/")[2] for entry in entries}
        if "constants.pkl" in names:
            advice = "save torch.jit.load(FILE).state_dict() alone"
            raise _Refused(
                f"it is a TorchScript archive, which is a program; {advice} with safetensors.torch.save_file"
            )
        if "archive_format" in names:
            raise _Refused("it is an archive of torch.export, which is a program; save the state dict alone")
        if not pickles:
            listed = ", ".join(shown(entry.filename, 40) for entry in entries[:3]) or "nothing"
            raise _Refused(f"it is a zip archive of other files ({listed}); unpack it first")
        held, allowed = sum(entry.file_size for entry in entries), most_bytes(path)
        if held > allowed:
            raise _Refused(f"it unpacks to {held:,} bytes; allowed: up to {MOST_UNFOLDED} times its size")
        for entry in pickles:
            if entry.file_size > _MOST_INDEX:
                raise _Refused(f"its names and shapes have {entry.file_size:,} bytes; allowed: up to {_MOST_INDEX:,}")
            _check_pickle(archive.read(entry))


def _check_pickle(content: bytes | mmap.mmap) -> None:
    """Torch calls `bytearray(NUMBER)` for a pickle that asks it to: as much memory as a stranger likes."""
    if any(content.find(b"c" + module + b"\nbytearray\n") >= 0 for module in (b"builtins", b"__builtin__")):
        raise _Refused(_MORE.format(" (bytearray)"))


_MORE = (
    "it is more than weights{}, and loading it would run code from the file; save the state dict alone with "
    "safetensors.torch.save_file, on a machine that may trust it"
)


def _unsafe(error: pickle.UnpicklingError) -> str:
    asked = re.search(r"GLOBAL ([\w.]+)", str(error))
    return _MORE.format(f" ({asked[1][:80]})" if asked else "")


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))[:200] or type(error).__name__
