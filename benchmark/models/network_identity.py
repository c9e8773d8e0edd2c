"""What a network in memory computes, but for its weights, as a hash: its parts, their settings and their code.

Code counts as Python compiled it, so a class needs no file, and neither comments nor line numbers matter. What code
names outside of itself counts too: functions, classes and constants of the user's, wherever they are. Libraries count
by their names.
"""

import enum
import functools
import hashlib
import json
import logging
import sys
import sysconfig
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.spec import SpecError

_BY_NAME = ("torch", "torchvision", "timm", "numpy", "benchmark")
"""Libraries whose version is no part of the identity, as it is not of other trials' either."""
_INSTALLED = tuple(Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib"))
_OF_CLASSES = {"__dict__", "__weakref__", "__module__", "__doc__", "__qualname__", "__firstlineno__", "_abc_impl",
               "__static_attributes__", "__annotations__", "__annotate_func__", "__annotate__"}  # fmt: skip
_PLAIN = (torch.dtype, torch.device, torch.layout, torch.memory_format, enum.Enum, PurePath, range, slice, complex)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def network_identity(network: nn.Module) -> str:
    """sha256 (64 hex digits). Equal for equal networks with other weights, in every process of one version of Python.

    Raises SpecError, in one line, for a part whose content cannot be read.
    """
    told = _Teller().tell(network, type(network).__name__)
    return hashlib.sha256(json.dumps(told, separators=(",", ":")).encode()).hexdigest()


class _Teller:
    """Turns values into plain JSON. What comes again, as in a cycle, is told by its number."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}  # the object too: ids of what is gone are used again

    def tell(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, bool | int | str) and type(value) in (bool, int, str):
            return value
        if isinstance(value, (float, bytes, *_PLAIN)):
            return [type(value).__qualname__, repr(value)]
        if id(value) in self._seen:
            return ["again", self._seen[id(value)][0]]
        self._seen[id(value)] = len(self._seen), value
        for kind, teller in self._tellers():
            if isinstance(value, kind):
                return teller(value, place)
        return self._object(value, place)

    def _tellers(self) -> list[tuple[Any, Callable[[Any, str], Any]]]:
        return [
            (nn.Module, self._module),
            (Tensor, lambda value, _: _array(value.detach().cpu())),
            (np.ndarray | np.generic, lambda value, _: _array(torch.as_tensor(np.asarray(value)))),
            (Mapping, self._mapping),
            (list | tuple, lambda value, place: [type(value).__name__, *self._each(value, place)]),
            (set | frozenset, lambda value, place: ["set", *sorted(map(repr, value))]),
            (FunctionType, self._function),
            (MethodType, lambda value, place: [self.tell(part, place) for part in (value.__func__, value.__self__)]),
            (functools.partial, lambda value, place: self._each([value.func, value.args, value.keywords], place)),
            (staticmethod | classmethod, lambda value, place: self.tell(value.__func__, place)),
            (property, lambda value, place: self._each([value.fget, value.fset], place)),
            (type, self._class),
            (CodeType, self._code),
            (ModuleType | logging.Logger, lambda value, _: ["named", getattr(value, "__name__", "")]),
            (BuiltinFunctionType, lambda value, _: ["named", _name(value)]),
        ]

    def _module(self, network: nn.Module, place: str) -> Any:
        if isinstance(network, torch.jit.ScriptModule):
            raise SpecError(f"model: {place} is TorchScript, whose code cannot be read; allowed: the nn.Module itself")
        children = [[name, self.tell(part, f"{place}.{name}")] for name, part in network._modules.items()]
        if isinstance(network, torch.fx.GraphModule):
            return ["graph", network.code, children]
        passed = [name for name in network._buffers if name in network._non_persistent_buffers_set]
        own = {name: value for name, value in vars(network).items() if name not in vars(nn.Module())}
        own |= {name: network._buffers[name] for name in passed}  # in no state dict
        own |= {name: list(vars(network)[name].values()) for name in _HOOKS}
        return ["network", self.tell(type(network), place), children, self._mapping(own, place)]

    def _mapping(self, value: Mapping[Any, Any], place: str) -> Any:
        return ["mapping", *([repr(key), self.tell(value[key], f"{place}.{key}")] for key in sorted(value, key=repr))]

    def _each(self, values: Any, place: str) -> list[Any]:
        return [self.tell(value, f"{place}[{i}]") for i, value in enumerate(values)]

    def _class(self, value: type, place: str) -> Any:
        if _library(value) is not None:
            return ["named", _library(value), _name(value)]
        own = {name: part for name, part in vars(value).items() if name not in _OF_CLASSES and not _is_slot(part)}
        return ["class", value.__qualname__, self._each(value.__bases__, place), self._mapping(own, place)]

    def _function(self, value: FunctionType, place: str) -> Any:
        if _library(value) is not None:
            return ["named", _library(value), _name(value)]
        used = sorted(_names(value.__code__))
        found = {name: value.__globals__[name] for name in used if name in value.__globals__}
        for name, module in list(found.items()):
            if isinstance(module, ModuleType) and _library_of(module.__name__) is None:
                found |= {f"{name}.{part}": getattr(module, part) for part in used if hasattr(module, part)}
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        where = f"{place}: {value.__qualname__}"
        parts = [value.__code__, value.__defaults__, value.__kwdefaults__, cells, found]
        return ["function", *(self.tell(part, where) for part in parts)]

    def _code(self, code: CodeType, place: str) -> Any:
        names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
        return ["code", code.co_code.hex(), self._each(code.co_consts, place), *(list(group) for group in names)]

    def _object(self, value: Any, place: str) -> Any:
        slots = {name: getattr(value, name) for kind in type(value).__mro__ for name in _slots(kind)
                 if hasattr(value, name)}  # fmt: skip
        held = {**slots, **getattr(value, "__dict__", {})}
        if not hasattr(value, "__dict__") and not slots:
            allowed = "numbers, texts, tensors, modules, functions, and plain objects of them"
            raise SpecError(f"model: {place} is a {_name(type(value))}, which cannot be read; allowed: {allowed}")
        return ["object", self.tell(type(value), place), self._mapping(held, place)]


def _array(tensor: Tensor) -> list[Any]:
    content = tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.reshape(-1)
    return ["array", str(tensor.dtype), list(tensor.shape), hashlib.sha256(content.numpy().tobytes()).hexdigest()]


def _names(code: CodeType) -> set[str]:
    """Names of globals and attributes, also of functions inside."""
    inner = [_names(value) for value in code.co_consts if isinstance(value, CodeType)]
    return set(code.co_names).union(*inner)


def _library(value: Any) -> str | None:
    return _library_of(getattr(value, "__module__", None) or "builtins")


@functools.cache
def _library_of(module: str) -> str | None:
    """Library and version of an installed module; None for the user's own code."""
    top = module.partition(".")[0]
    if top in _BY_NAME or top in sys.builtin_module_names:
        return top
    file = getattr(sys.modules.get(module), "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    if top == "__main__" or file is None or not any(Path(file).is_relative_to(place) for place in _INSTALLED):
        return None
    return f"{top} {getattr(sys.modules[top], '__version__', '')}".strip()


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', type(value).__qualname__)}"


def _slots(kind: type) -> tuple[str, ...]:
    found = vars(kind).get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _is_slot(value: Any) -> bool:
    return type(value).__name__ in ("member_descriptor", "getset_descriptor")
