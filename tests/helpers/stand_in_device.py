"""A device that stands in for a GPU: it computes on the CPU, and counts what a GPU would make the CPU wait for.

Torch takes its tensors for ones on `meta`, whose backward pass needs no driver; they have values all the same. An
operation on one of them and a tensor on the CPU is refused, as by CUDA. Whatever asks for a value, a number of rows, or
a copy that is waited for, is a *stall*: until then the CPU could have given the GPU its next work. What CUDA waits for
is written here by hand, from how torch 2.14 does it.
"""

import copy
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("meta")
_ASKS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.masked_select.default,
    aten.nonzero.default,
    aten._unique2.default,
    aten.unique_dim.default,
}
"""They give Python a value, or a tensor whose size depends on values."""
_INDEXING = {aten.index.Tensor, aten._unsafe_index.Tensor}
_WRITING = {aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}

_TAKE_NUMBERS = {aten.add, aten.sub, aten.mul, aten.div, aten.where, aten.fill_, aten.mul_, aten.masked_fill_}
"""Of these CUDA takes a single number from the CPU, without a copy."""


class OnDevice(Tensor):
    """A tensor of the stand-in device; `held` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, layout=held.layout, device=DEVICE,
        )  # type: ignore[attr-defined]  # fmt: skip
        made.held = held
        return made  # type: ignore[no-any-return]

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnDevice({self.held!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.data.__set__:  # type: ignore[attr-defined]
            args[0].held = args[1].held
        if func is Tensor.tolist:
            return args[0].cpu().tolist()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError("the device is there inside `StandIn` alone")


class StandIn(TorchDispatchMode):
    """In it, the device is there. stalls: how often the program waited, by `file:line operation`, of the line of ours
    that called for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stalls = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _waits(func, args, kwargs):
            self.stalls[f"{_line()} {func.name().removeprefix('aten::')}"] += 1
        return _computed(func, args, kwargs)


def _computed(func: Any, args: Any, kwargs: Any) -> Any:
    there = _refuse_mixed(func, args, kwargs)
    to = kwargs.get("device")
    if to is not None:
        there, kwargs = torch.device(to).type == DEVICE.type, {**kwargs, "device": torch.device("cpu")}
    elif func is aten.copy_.default:
        there = isinstance(args[0], OnDevice)
    found = func(*_held(args), **{name: _held(value) for name, value in kwargs.items()})
    if not there:
        return found
    if func._schema.is_mutable:  # it writes to its first tensor, or to `out`
        return kwargs.get("out", args[0]) if isinstance(found, Tensor) else None if found is None else args[0]
    return _there(found)


def _held(given: Any) -> Any:
    if isinstance(given, list | tuple):
        return [_held(each) for each in given]
    return given.held if isinstance(given, OnDevice) else given


def _there(found: Any) -> Any:
    if isinstance(found, list | tuple):
        return type(found)(_there(each) for each in found)
    return OnDevice(found) if isinstance(found, Tensor) else found


def _refuse_mixed(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a tensor is on the device. Raises RuntimeError where others are not; single numbers may be anywhere."""
    if func in _INDEXING | _WRITING and isinstance(args[0], OnDevice):
        tensors = [args[0], *args[2:3]]  # places may be on the CPU: they are copied
    else:
        tensors = list(_tensors((*args, *kwargs.values())))
    if not any(isinstance(each, OnDevice) for each in tensors):
        return False
    elsewhere = [
        each
        for each in tensors
        if not isinstance(each, OnDevice) and (each.ndim or func.overloadpacket not in _TAKE_NUMBERS)
    ]
    if elsewhere and func not in (aten.copy_.default, aten._to_copy.default):
        raise RuntimeError(f"{func}: one tensor is on the device, and one of {tuple(elsewhere[0].shape)} on the CPU")
    return True


def _tensors(given: Any) -> Iterator[Tensor]:
    for each in given:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)


def _waits(func: Any, args: Any, kwargs: Any) -> bool:
    if func not in (aten.copy_.default, aten._to_copy.default) and not isinstance(args[0] if args else None, OnDevice):
        return False
    if func in _ASKS:
        return True
    if func is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    if func is aten.copy_.default:
        return isinstance(args[0], OnDevice) != isinstance(args[1], OnDevice) and not (args[2:3] or (False,))[0]
    if func is aten._to_copy.default:
        to = kwargs.get("device")
        crosses = to is not None and (torch.device(to).type == DEVICE.type) != isinstance(args[0], OnDevice)
        return crosses and not kwargs.get("non_blocking", False)
    if func in _INDEXING | _WRITING:
        if func in _WRITING and args[2].numel() == 1 and not isinstance(args[2], OnDevice):
            return not all(i is None or i.dtype == torch.bool for i in args[1])  # of masks alone, a fill
        return any(i is not None and (i.dtype == torch.bool or not isinstance(i, OnDevice)) for i in args[1])
    return False


def _line() -> str:
    frame = sys._getframe(1)
    while frame is not None and "/benchmark/" not in frame.f_code.co_filename:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return "elsewhere"
    return f"{frame.f_code.co_filename.rpartition('/benchmark/')[2]}:{frame.f_lineno}"


def on_device(model: Any) -> Any:
    """A copy of a module, on the device; to be called inside `StandIn`."""
    return copy.deepcopy(model).to(DEVICE)


def values(found: Tensor) -> Tensor:
    """What a tensor of either device holds, on the CPU."""
    return found.held if isinstance(found, OnDevice) else found
