"""YAML -> Suite. Every error names the key, the value and what is allowed."""

import hashlib
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, StringConstraints

from benchmark import registry
from benchmark.data.pools import PoolsSpec
from benchmark.registry import ArchitectureField, DataField, EvasionField, InversionField, MembershipField, RegimeField
from benchmark.spec import Spec, SpecError, suggest

CONTROL_NAMES = ("memoriser", "untrained", "injected")
"""Names of the controls, which every suite runs; no model may be called so."""
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Recipe(Spec):
    """How a model is made."""

    architecture: ArchitectureField
    regime: RegimeField


class ModelEntry(Recipe):
    """One row of the leaderboard."""

    name: Name


class Evaluators(Spec):
    """Two judges of reconstructions, trained on the auxiliary pool alone."""

    standard: Recipe
    robust: Recipe


class Evaluation(Spec):
    """How much is measured. neighbours: k of the nearest-neighbour lists."""

    num_images: int = Field(default=1000, ge=1)
    num_members: int = Field(default=0, ge=0)
    neighbours: int = Field(default=50, ge=1)


class Suite(Spec):
    """What is compared: the first attack of each list is the suite's primary one."""

    name: Name
    data: DataField
    pools: PoolsSpec = PoolsSpec()
    replicas: int = Field(default=2, ge=2)
    seed: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=1)
    models: list[ModelEntry] = Field(min_length=1)
    evaluators: Evaluators
    evasion: list[EvasionField] = Field(min_length=1)
    inversion: list[InversionField] = Field(min_length=1)
    membership: list[MembershipField] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()

    @property
    def hash(self) -> str:
        """sha256 of the checked suite, whatever its comments and order of keys."""
        return hashlib.sha256(registry.canonical(self.model_dump(mode="json")).encode()).hexdigest()


def load_suite(path: str) -> tuple[Suite, str]:
    """The checked suite of a file, and its text. Raises SpecError in one line."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"no suite file {path!r}{_near(file)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"suite file {path!r} cannot be read: {error}") from None
    try:
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SpecError(f"suite file {path!r} is not YAML: {' '.join(str(error).split())}") from None
    if data is None:
        raise SpecError(f"suite file {path!r} is empty; allowed: keys {', '.join(Suite.model_fields)}")
    return parse_suite(data), text


def parse_suite(data: Any) -> Suite:
    """A checked suite from plain data. Raises SpecError in one line."""
    suite = Suite.parse(data)
    if suite.replicas % 2:
        raise SpecError(f"{suite.replicas} is odd; allowed: an even number, replicas come in pairs", ("replicas",))
    names = [model.name for model in suite.models]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SpecError(f"{name!r} is the name of two models; allowed: names that differ", ("models", index))
        if name in CONTROL_NAMES:
            raise SpecError(f"{name!r} is the name of a control; allowed: any other", ("models", index, "name"))
    for kind, attacks in (("evasion", suite.evasion), ("inversion", suite.inversion)):
        labels = [attack.label for attack in attacks]
        for index, label in enumerate(labels):
            if label in labels[:index]:
                raise SpecError(f"{label!r} is there twice; allowed: attacks that differ", (kind, index))
    return suite


def _near(file: Path) -> str:
    """A hint at suites that are there."""
    folder = file.parent if file.parent.is_dir() else Path("suites")
    found = sorted(str(p) for p in folder.glob("*.yaml")) if folder.is_dir() else []
    return suggest(str(file), found) if found else ""


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is written twice is an error, not a silent loss."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: Sequence[Any] = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise SpecError(f"line {node.value[index][0].start_mark.line + 1}: the key {key!r} is there twice")
        return super().construct_mapping(node, deep)
