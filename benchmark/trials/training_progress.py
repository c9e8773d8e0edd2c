"""Saves the state of a training after an epoch, so that a lost machine costs at most the epochs since."""

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from benchmark.machine.durable_files import StoreFull
from benchmark.storage.checksum import NAME, is_broken, seal

if TYPE_CHECKING:
    import torch

EVERY_S = 10.0
"""Epochs shorter than this are cheaper to compute again than to write, one by one."""


class Keeper(Protocol):
    """The part of the store that a training may write to, beside the trials."""

    def progress(self, key: str) -> bytes | None: ...
    def keep_progress(self, key: str, content: bytes) -> None: ...


class Progress:
    """The state of one trial's training, as a safetensors file. It is a convenience and never an error.

    made_with: what the numbers depend on and the key does not hold, such as the version of torch; a training goes on
    from a state of its own kind only. every_s: `save` writes when so many seconds have passed since it last did.
    """

    def __init__(self, keeper: Keeper | None, key: str = "", made_with: str = "", every_s: float = EVERY_S) -> None:
        self._keeper, self._key, self._made_with, self._every_s = keeper, key, made_with, every_s
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether `save` would write now."""
        return self._keeper is not None and time.monotonic() - self._since >= self._every_s

    def save(self, state: "Mapping[str, torch.Tensor]") -> None:
        """Put `state`, on whatever device, in place of what was kept before, if it is time."""
        if not self.due:
            return
        assert self._keeper is not None
        with contextlib.suppress(OSError, StoreFull):  # a training needs no room for this to end well
            self._keeper.keep_progress(self._key, self._encoded(state))
        self._since = time.monotonic()

    def load(self) -> "dict[str, torch.Tensor] | None":
        """What was saved last, on the CPU; None if nothing was, or it is damaged, or another trial's or machine's."""
        content = None
        with contextlib.suppress(OSError):
            content = self._keeper.progress(self._key) if self._keeper else None
        return None if content is None else self._decoded(content)

    def _encoded(self, state: "Mapping[str, torch.Tensor]") -> bytes:
        import torch
        from safetensors.torch import save

        # Copies: weights that two layers share would be refused as they are.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
        }
        about = {"key": self._key, "made_with": self._made_with, "sha256": _digest(tensors)}
        # One entry: the order of several is not fixed.
        return save(tensors, {"about": seal(json.dumps(about).encode()).decode()})

    def _decoded(self, content: bytes) -> "dict[str, torch.Tensor] | None":
        import torch

        try:
            about, tensors = opened(content)
        except ValueError:
            return None
        if (about["key"], about["made_with"]) != (self._key, self._made_with):
            return None
        finite = all(bool(t.isfinite().all()) for t in tensors.values() if t.dtype in (torch.float32, torch.float64))
        return tensors if finite else None


UNKEPT = Progress(None)
"""For a training that nobody interrupts."""


def opened(content: bytes) -> "tuple[dict[str, str], dict[str, torch.Tensor]]":
    """What `Progress.save` wrote: (key, made_with, sha256 and, but in older ones, a checksum), the state.

    Raises ValueError where it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        text = header["__metadata__"]["about"]
        about = json.loads(text)
        broken = is_broken(text.encode(), about) or about["sha256"] != _digest(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no state of a training ({type(error).__name__})") from error
    if broken or about.keys() - {NAME} != {"key", "made_with", "sha256"}:
        raise ValueError("its content is not the one that was written")
    return about, tensors


def _digest(tensors: "Mapping[str, torch.Tensor]") -> str:
    """sha256 of names, types, shapes and contents: a file may be whole and its bytes not what was written."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
