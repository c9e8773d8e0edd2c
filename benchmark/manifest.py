"""What the page needs to know of a suite, as JSON beside the results."""

from typing import Any, cast

from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.plan import membership_label
from benchmark.regimes.regime import Regime
from benchmark.registry import dump
from benchmark.suite import ModelEntry, Suite


def describe(suite: Suite, text: str, path: str, card: str) -> dict[str, Any]:
    """The suite in plain words, so that its page can be rebuilt from the results folder alone.

    text, path: of the suite file. card: of the data set.
    """
    return {
        "yaml": text,
        "path": path,
        "data": card,
        "replicas": suite.replicas,
        "models": [_model(entry) for entry in suite.models],
        "evasion": [_attack(cast(Evasion, attack)) for attack in suite.evasion],
        "inversion": [cast(Inversion, attack).label for attack in suite.inversion],
        "membership": [membership_label(attack) for attack in suite.membership],
    }


def _model(entry: ModelEntry) -> dict[str, Any]:
    adversary = cast(Regime, entry.regime).adversary
    return {
        "name": entry.name,
        "architecture": dump("architecture", entry.architecture)["method"],
        "regime": dump("regime", entry.regime)["method"],
        "train_norm": adversary[0] if adversary else None,
        "train_epsilon": adversary[1] if adversary else None,
    }


def _attack(attack: Evasion) -> dict[str, Any]:
    return {"label": attack.label, "kind": attack.KIND, "norm": attack.norm, "epsilon": attack.epsilon}
