"""Decodes the files of a trial, once their hash is checked. Raises ValueError for content that no run writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.reading.json_and_parquet import read_parquet
from benchmark.reading.plausible_values import MOST_ROWS
from benchmark.storage import MOST_BYTES

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    import torch


def read_measure(found: Path | bytes) -> "pa.Table":
    """Reads the columns of `schema.MEASURE`. From memory: a path costs Parquet's reader more than the table does."""
    import pyarrow as pa

    from benchmark.schema import MEASURE, ROWS

    columns = pa.schema([ROWS.field(name) for name, _, _ in MEASURE])
    content = found.read_bytes() if isinstance(found, Path) else found
    return read_parquet(content, MOST_ROWS, MOST_BYTES, columns)


def read_tensors(found: Path | bytes) -> "dict[str, torch.Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return load_file(found) if isinstance(found, Path) else load(found)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise ValueError(f"no tensors ({str(error).splitlines()[0][:300]})") from error


def read_tensor_names(found: Path | bytes) -> set[str]:
    """Raises ValueError where these are no tensors."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load

    try:
        if isinstance(found, Path):
            with safe_open(found, framework="numpy") as file:
                return set(file.keys())
        return set(load(found))
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no tensors ({str(error).splitlines()[0][:300]})") from error


def read_arrays(found: Path | bytes, names: Sequence[str]) -> "list[npt.NDArray[Any]]":
    """The tensors of these names, as numpy arrays. Raises ValueError where one is not there."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load

    try:
        if isinstance(found, Path):
            with safe_open(found, framework="numpy") as file:
                return [file.get_tensor(name) for name in names]
        tensors = load(found)
        return [tensors[name] for name in names]
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"no tensors {', '.join(names)} ({str(error).splitlines()[0][:300]})") from error
