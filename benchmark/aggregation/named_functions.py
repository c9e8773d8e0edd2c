"""The functions that entries of `METRICS` name, loaded when they are needed."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmark.metrics import METRICS


def named_function(path: str) -> Callable[..., Any]:
    """The function at "module:function"."""
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def files() -> list[Path]:
    """The source files of all of them: their text decides numbers."""
    modules = sorted({metric.function.partition(":")[0] for metric in METRICS if metric.function})
    return [Path(str(importlib.import_module(module).__file__)) for module in modules]
