"""All that the next step of a training depends on, as tensors by name, and back."""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from benchmark.regimes.sgd import SGD

_OF_OPTIMIZER = re.compile(r"optimizer\.([a-z]+)\.([0-9]{1,6})\.([a-z_]+)")


class TrainingState:
    """Weights and statistics of modules, moments of optimizers, a generator's state. Names are the parts' own.

    Learning rates are no part of it: they follow from the number of the step.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer | SGD],
        generator: torch.Generator,
    ) -> None:
        self._modules, self._optimizers, self._generator = dict(modules), optimizers, generator

    def keep(self, modules: Mapping[str, nn.Module]) -> None:
        """These belong to the training, too."""
        self._modules.update(modules)

    def gather(self, **more: Tensor) -> dict[str, Tensor]:
        """Tensors that share memory with the training. more: kept with them, under these names."""
        moments = {
            f"optimizer.{name}.{index}.{moment}": value
            for name, optimizer in self._optimizers.items()
            for index, weight in enumerate(_weights(optimizer))
            for moment, value in optimizer.state.get(weight, {}).items()
            if isinstance(value, Tensor)
        }
        return {**dict(self._of_modules()), **moments, "generator": self._generator.get_state(), **more}

    def restore(self, found: Mapping[str, Tensor]) -> bool:
        """Take up what `gather` gave. False, and nothing is changed, if it is not of such a training."""
        if not self._fits(found):
            return False
        for name, tensor in self._of_modules():
            tensor.copy_(found[name])
        for name, value in found.items():
            if match := _OF_OPTIMIZER.fullmatch(name):
                optimizer = self._optimizers[match[1]]
                weight = _weights(optimizer)[int(match[2])]
                # In the weight's own memory layout: sums of another layout may round differently.
                moment = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value.clone()
                optimizer.state[weight][match[3]] = moment.detach()
        self._generator.set_state(found["generator"])
        return True

    def _of_modules(self) -> Iterator[tuple[str, Tensor]]:
        for name, module in self._modules.items():
            for key, value in module.state_dict().items():
                yield f"module.{name}.{key}", value

    def _fits(self, found: Mapping[str, Tensor]) -> bool:
        own = dict(self._of_modules())
        if own.keys() != {name for name in found if name.startswith("module.")}:
            return False
        if any(found[name].shape != own[name].shape or found[name].dtype != own[name].dtype for name in own):
            return False
        moments = [(name, value) for name, value in found.items() if name.startswith("optimizer.")]
        return all(self._is_moment(name, value) for name, value in moments) and self._seeds(found)

    def _is_moment(self, name: str, value: Tensor) -> bool:
        match = _OF_OPTIMIZER.fullmatch(name)
        if match is None or match[1] not in self._optimizers or value.dtype != torch.float32:
            return False
        weights = _weights(self._optimizers[match[1]])
        return int(match[2]) < len(weights) and value.shape in (weights[int(match[2])].shape, torch.Size())

    def _seeds(self, found: Mapping[str, Tensor]) -> bool:
        try:
            torch.Generator().set_state(found["generator"])
        except (KeyError, TypeError, RuntimeError):
            return False
        return True


def _weights(optimizer: torch.optim.Optimizer | SGD) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
