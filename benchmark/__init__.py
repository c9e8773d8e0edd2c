"""What adversarial robustness costs in training-data privacy, measured. docs/PYTHON.md has these functions.

Each is imported when it is first asked for: `import benchmark` loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.interface.attack_network import AttackResult, attack
    from benchmark.interface.evaluate import evaluate
    from benchmark.interface.invert_network import InversionResult, invert
    from benchmark.interface.report import Report, Results, load_results
    from benchmark.interface.suites import load_suite, plan, run

_FROM = {
    "AttackResult": "benchmark.interface.attack_network",
    "InversionResult": "benchmark.interface.invert_network",
    "Report": "benchmark.interface.report",
    "Results": "benchmark.interface.report",
    "attack": "benchmark.interface.attack_network",
    "evaluate": "benchmark.interface.evaluate",
    "invert": "benchmark.interface.invert_network",
    "load_results": "benchmark.interface.report",
    "load_suite": "benchmark.interface.suites",
    "plan": "benchmark.interface.suites",
    "run": "benchmark.interface.suites",
}
"""Name -> the module that has it."""

__all__ = [
    "AttackResult",
    "InversionResult",
    "Report",
    "Results",
    "attack",
    "evaluate",
    "invert",
    "load_results",
    "load_suite",
    "plan",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(_FROM[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
