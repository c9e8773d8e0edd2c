"""Makes the labels of attacks in tables: the registered name, and the settings that tell an attack from others.

Labels are for people. They are in no key, so that another label finds the results that are there.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from benchmark import registry
from benchmark.inversion.attack import Inversion
from benchmark.spec import Spec

INJECTED: Mapping[str, Mapping[str, Any]] = {
    "injected_exact": {"what": "members"},
    "injected_noisy": {"what": "members", "noise_std": 0.05},
    "injected_out": {"what": "non_members"},
    "injected_auxiliary": {"what": "auxiliary"},
}
"""Label of each injected control -> its settings."""
_LONGEST = 100
_PLAIN = re.compile(r"[^A-Za-z0-9_.+,-]+")
_IDENTITY = ("method", "version", "source_sha256")
AnAttack = TypeVar("AnAttack", bound=Spec)


def labelled(kind: str, attacks: Sequence[AnAttack]) -> dict[str, AnAttack]:
    """Label -> attack, in the order of the list; attacks that are equal share one.

    A label tells what `Spec.TOLD` and `Spec.TOLD_IF_SET` name. Attacks that would then have the same one also tell
    those settings in which they differ, where they are not the default: `pgd-linf-0.1` and `pgd-linf-0.1-steps_100`.
    """
    given = {registry.canonical(registry.dump(kind, attack)): attack for attack in attacks}
    found = {identity: label(kind, attack) for identity, attack in given.items()}
    for alike in _groups(found):
        settings = [_settings(kind, given[identity]) for identity in alike]
        names = dict.fromkeys(name for each in settings for name in each)
        differing = {name for name in names if len({repr(each.get(name)) for each in settings}) > 1}
        for identity, own in zip(alike, settings, strict=True):
            default = _defaults(kind, given[identity])
            told = [name for name in own if name in differing and own[name] != default.get(name)]
            found[identity] = "-".join([found[identity], *(f"{name}_{_exact(own[name])}" for name in told)])
    found = {identity: _short(text) for identity, text in found.items()}
    for alike in _groups(found):  # texts that were cut, or names with the settings of others in them
        for identity in alike:
            found[identity] += f"-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    return {found[identity]: attack for identity, attack in given.items()}


def label(kind: str, attack: Spec) -> str:
    """The label of an attack by itself."""
    default = _defaults(kind, attack)
    own = _settings(kind, attack)
    told = [own[name] for name in attack.TOLD]
    changed = [name for name in attack.TOLD_IF_SET if own[name] != default.get(name)]
    told += [name if own[name] is True else own[name] for name in changed]
    return "-".join([_named(kind, attack), *(_text(value) for value in told)])


def _named(kind: str, attack: Spec) -> str:
    """The registered name; `generator_alone` for an attack that is its own null case."""
    name = registry.name_of(kind, attack)
    alone = isinstance(attack, Inversion) and attack.without_target() == attack
    return f"{name}_alone" if alone else name


def _groups(found: Mapping[str, str]) -> list[list[str]]:
    """Those that have one label."""
    groups: dict[str, list[str]] = {}
    for identity, text in found.items():
        groups.setdefault(text, []).append(identity)
    return [group for group in groups.values() if len(group) > 1]


def _settings(kind: str, attack: Spec) -> dict[str, Any]:
    """Every setting by name, those of a setting's own settings by `name.name`, in the order of the class."""
    dumped = registry.dump(kind, attack)
    return dict(_flat({name: dumped[name] for name in dumped if name not in _IDENTITY}))


def _defaults(kind: str, attack: Spec) -> dict[str, Any]:
    """The settings that have a default."""
    fields = {name: field for name, field in type(attack).model_fields.items() if not field.is_required()}
    made = attack.model_copy(
        update={
            name: field.get_default(call_default_factory=True, validated_data=attack.__dict__)
            for name, field in fields.items()
        }
    )
    dumped = registry.dump(kind, made)
    return dict(_flat({name: dumped[name] for name in fields if name in dumped}))


def _flat(settings: Mapping[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        inner = _flat(value) if isinstance(value, dict) else [("", value)]
        found += [(f"{name}.{more}".rstrip("."), each) for more, each in inner if more not in _IDENTITY[1:]]
    return found


def _text(value: Any) -> str:
    """A value in plain characters: four digits of a number, as in `linf-0.03137`."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _exact(value: Any) -> str:
    """The same, with all digits that it needs to be told from any other."""
    return repr(value) if isinstance(value, float) and float(_text(value)) != value else _text(value)


def _short(text: str) -> str:
    """Plain, and no longer than a table can show."""
    plain = _PLAIN.sub("_", text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}..."
