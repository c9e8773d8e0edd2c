"""A network that a function of the user's makes."""

from collections.abc import Callable
from typing import Any

import torch
from pydantic import field_validator
from torch import nn

from benchmark.models.adapted import Adapted
from benchmark.models.classifier import Architecture, Classifier, InputInfo
from benchmark.spec import SpecError
from benchmark.user_files import include, users_code


class IncludedModel(Architecture):
    """`{method: function, function: "my_file:make"}`, with `--include my_file.py`.

    The function gets channels, height, width and num_classes by these names, and returns an `nn.Module` that takes
    images (N, C, H, W) and gives logits (N, num_classes). normalise: images come to it with the data's mean taken off
    and divided by the data's standard deviation; else as they are, in [0, 1].
    """

    SOURCE = "the user's own"
    function: str
    normalise: bool = True

    @field_validator("function")
    @classmethod
    def _there(cls, function: str) -> str:
        _find(function)
        return function

    @property
    def origin(self) -> str:
        return include.modules()[self.function.partition(":")[0]].__name__

    def network(self, info: InputInfo) -> Classifier:
        if not self.normalise:
            info = info.unnormalised()
        return Adapted(info, lambda: self._checked(info))

    def _checked(self, info: InputInfo) -> nn.Module:
        size = {"channels": info.channels, "height": info.height, "width": info.width, "num_classes": info.num_classes}
        made = self._run(lambda: _find(self.function)(**size))
        if not isinstance(made, nn.Module):
            raise SpecError(f"function {self.function!r} returned a {type(made).__name__}; allowed: an nn.Module")
        logits = self._run(lambda: made.eval()(torch.zeros(1, info.channels, info.height, info.width)))
        if not isinstance(logits, torch.Tensor) or logits.shape != (1, info.num_classes):
            shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
            raise SpecError(f"function {self.function!r} gives logits of {shape}; allowed: (1, {info.num_classes})")
        return made.train()

    @torch.no_grad()
    def _run(self, code: Callable[[], Any]) -> Any:
        file = str(include.modules()[self.function.partition(":")[0]].__file__)
        with users_code.running(f"function {self.function!r}", file):
            return code()


def _find(function: str) -> Any:
    stem, colon, name = function.partition(":")
    files = include.modules()
    if not colon or stem not in files:
        given = ", ".join(sorted(files)) or "none"
        raise SpecError(
            f"{function!r} names no included file; allowed: FILE:FUNCTION with `--include FILE.py` ({given})"
        )
    found = getattr(files[stem], name, None)
    if not callable(found):
        raise SpecError(f"{function!r}: {stem}.py has no function {name!r}")
    return found
