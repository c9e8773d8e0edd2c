"""Reads pickles from unknown sources safely: numpy arrays in plain containers, and nothing else.

A pickle is a program. These readers give it stand-ins for numpy's classes, which check what is to become an array
(numpy itself trusts a pickle, and can be crashed by one), and refuse whatever else it asks for.
"""

import io
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import numpy_pickle

from benchmark.data.formats.files import MALFORMED, one_line

_NUMBERS = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8")


def arrays_in_containers(path: Path) -> Any:
    """What a plain pickle holds, by Python 2 or 3: an array, or a dict with some; texts of Python 2 come as bytes.

    Raises ValueError, without the path, if it is damaged or asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            found = _Plain(file, encoding="bytes").load()
        return {key: _real(value) for key, value in found.items()} if isinstance(found, dict) else _real(found)
    except (*MALFORMED, NotImplementedError, pickle.UnpicklingError) as error:
        raise ValueError(one_line(error)) from error


def joblib_array(path: Path) -> npt.NDArray[np.generic]:
    """The one array of a file that `joblib.dump(array, path, compress=...)` wrote with zlib, its default.

    Raises ValueError, without the path, if it is damaged, asks for anything but arrays, or is no array.
    """
    try:
        found = _Joblib(str(path), io.BytesIO(zlib.decompress(path.read_bytes())), True).load()
    except (*MALFORMED, NotImplementedError, pickle.UnpicklingError) as error:
        raise ValueError(one_line(error)) from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"it holds a {type(found).__name__}, and no array")
    return found


class _Dtype:
    """Stand-in for a dtype: plain numbers of one byte order."""

    def __init__(self, name: str | bytes, *_: object) -> None:
        self.name, self.order = name.decode() if isinstance(name, bytes) else name, "|"
        if self.name not in _NUMBERS:
            raise pickle.UnpicklingError(f"it holds an array of the type {self.name!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode() if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "|", "=") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("it holds an array of records")
        self.order = order

    def real(self) -> np.dtype[np.generic]:
        return np.dtype(self.name).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """Stand-in for an array, and for its class."""

    def __init__(self, *_: object) -> None:
        self.real: npt.NDArray[np.generic] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("it holds an array of no numbers")
        self.real = np.frombuffer(content, dtype.real()).reshape(shape, order="F" if fortran else "C")


def _real(value: Any) -> Any:
    return value.real if isinstance(value, _Array) else value


def _admitted(module: str, name: str) -> Any:
    # The function that numpy's pickles name, by whatever module path their numpy had.
    if (name == "_reconstruct" and module in ("numpy.core.multiarray", "numpy._core.multiarray")) or (
        (module, name) == ("numpy", "ndarray")
    ):
        return _Array
    if (module, name) == ("numpy", "dtype"):
        return _Dtype
    if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes for Python 2
        return _latin1
    raise pickle.UnpicklingError(f"it asks for {module}.{name}, and arrays of numbers need no such thing")


def _latin1(text: str, encoding: str | bytes) -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}, and arrays of numbers need no such thing")
    return text.encode("latin1")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _admitted(module, name)


class _NumbersOnly(numpy_pickle.NumpyArrayWrapper):  # type: ignore[misc]
    """Where joblib has the bytes of an array follow."""

    def read(self, *arguments: Any) -> Any:
        wrapper: Any = self
        wrapper.dtype, wrapper.subclass = wrapper.dtype.real(), np.ndarray
        return super().read(*arguments)


class _Joblib(numpy_pickle.NumpyUnpickler):  # type: ignore[misc]
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return _NumbersOnly
        return _admitted(module, name)
