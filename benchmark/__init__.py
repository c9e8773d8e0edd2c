"""What adversarial robustness costs in training-data privacy, measured. docs/PYTHON.md has these functions.

Each is imported when it is first asked for: `import benchmark` loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.interface.attack import AttackResult, attack
    from benchmark.interface.invert import InversionResult, invert

_FROM = {
    "AttackResult": "benchmark.interface.attack",
    "InversionResult": "benchmark.interface.invert",
    "attack": "benchmark.interface.attack",
    "invert": "benchmark.interface.invert",
}
"""Name -> the module that has it."""

__all__ = ["AttackResult", "InversionResult", "attack", "invert"]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_FROM[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
