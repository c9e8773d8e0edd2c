"""`Suite`: what a suite file may say. Every error names the key, the value and what is allowed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import Field

from benchmark import registry
from benchmark.data.members.pools import MOST_REPLICAS, PoolsSpec
from benchmark.evasion.attack import Evasion
from benchmark.inversion.attack import Inversion
from benchmark.inversion.injected import Injected
from benchmark.metrics import STRONGEST
from benchmark.models.memoriser import Memoriser
from benchmark.planning.gpu_shares import Resources
from benchmark.planning.labels import label, labelled
from benchmark.planning.models_of_suite import Evaluators, ModelEntry, ModelField, Name, Recipe
from benchmark.planning.prices import Prices
from benchmark.planning.robustness_measures import CorruptionsField, Curves
from benchmark.reading.text import shown
from benchmark.regimes.memorise import Memorise
from benchmark.registry import DataField, EvasionField, InversionField, MembershipField
from benchmark.spec import Spec, SpecError, suggest
from benchmark.stages.query import SHIFTS
from benchmark.user_files.yaml_file import read_yaml

CONTROL_NAMES = ("memoriser", "untrained", "injected")
"""Names of the controls, which every suite runs; no model may be called so."""
MOST_SEED = 2**62


class Evaluation(Spec):
    """How much is measured. neighbours: k of the nearest-neighbor lists. shown_neighbours: of them, on the page."""

    num_images: int = Field(default=1000, ge=1, le=1_000_000_000)
    num_members: int = Field(default=0, ge=0, le=1_000_000_000)
    neighbours: int = Field(default=50, ge=1, le=100_000)
    shown_neighbours: int = Field(default=5, ge=1, le=1_000)


class Queries(Spec):
    """What models are asked about every private image, besides the image, for membership attacks.

    mirror: the mirror image, too. shifts: images shifted by 1 or 2 pixels. adversarial_steps: of the search for an
    adversarial version, which is made where an attack of the suite needs one; 0: never.
    """

    mirror: bool = True
    shifts: int = Field(default=0, ge=0, le=len(SHIFTS))
    adversarial_steps: int = Field(default=3, ge=0, le=1_000)


Place = tuple[str | int, ...]
"""Keys and indices that lead to a value of a suite file."""
Attack = TypeVar("Attack", bound=Evasion | Inversion)
Settings = dict[str, Any]


class Suite(Spec):
    """What is compared: the first attack of each list is the suite's primary one.

    replicas: trained, attacked and inverted. shadow_replicas: trained and asked as many more, for membership attacks.
    curves: radii of robust accuracy against epsilon. corruptions: what accuracy on corrupted images is measured of.
    tuned: label of an attack -> model -> settings in which the attack on this model differs; see `bench tune`.
    """

    name: Name
    data: DataField
    pools: PoolsSpec = PoolsSpec()
    replicas: int = Field(default=2, ge=2, le=MOST_REPLICAS // 2)
    shadow_replicas: int = Field(default=0, ge=0, le=MOST_REPLICAS // 2)
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    threads: int = Field(default=1, ge=1, le=1024)
    models: list[ModelField] = Field(min_length=1)
    evaluators: Evaluators
    evasion: list[EvasionField] = Field(min_length=1)
    inversion: list[InversionField] = Field(min_length=1)
    membership: list[MembershipField] = Field(min_length=1)
    queries: Queries = Queries()
    curves: Curves | None = None
    corruptions: CorruptionsField = None
    evaluation: Evaluation = Evaluation()
    resources: Resources = {}
    prices: Prices | None = None
    tuned: dict[str, dict[str, Settings]] = {}

    @property
    def hash(self) -> str:
        """sha256 of what can change a number, whatever the file's comments and order of keys.

        Keys that came later count where they are set, so that suites of before keep their hash.
        """
        later: dict[str, Any] = {
            "tuned": {},
            "shadow_replicas": 0,
            "queries": Queries(),
            "curves": None,
            "corruptions": None,
        }
        left_out = {"resources", "prices"} | {name for name, unset in later.items() if getattr(self, name) == unset}
        counted = self.model_dump(mode="json", exclude=left_out)
        for model in counted["models"]:
            for name in ("num_members", "shadow"):
                if model.get(name) is None:
                    model.pop(name, None)
            if "shadow" in model and model["shadow"]["architecture"] is None:
                del model["shadow"]["architecture"]
        return hashlib.sha256(registry.canonical(counted).encode()).hexdigest()

    def attacks(self) -> dict[str, Evasion | Inversion]:
        """Label -> every attack that can be tuned, inversions first."""
        found = {**labelled("inversion", self.inversion), **labelled("evasion", self.evasion)}
        return cast(dict[str, Evasion | Inversion], found)

    def attack_on(self, model: str, name: str, attack: Attack) -> Attack:
        """An attack of the suite as this model gets it. name: its label. Raises SpecError for tuned settings that are
        not allowed.
        """
        settings = self.tuned.get(name, {}).get(model)
        return with_settings(attack, settings) if settings else attack


def with_settings(attack: Attack, settings: Settings) -> Attack:
    """The attack with other settings and the same budget.

    Raises SpecError for settings that the attack does not know, or that change its label, its passes or its samples.
    """
    kind = "evasion" if isinstance(attack, Evasion) else "inversion"
    changed = cast(Attack, registry.parse(kind, {**registry.dump(kind, attack), **settings}))
    compared: dict[str, tuple[Any, Any]] = {"label": (label(kind, attack), label(kind, changed))}
    for name in ("passes", "samples_per_class", "norm", "epsilon"):
        compared[name] = getattr(attack, name, None), getattr(changed, name, None)
    for name, (before, after) in compared.items():
        if before != after:
            raise SpecError(
                f"{shown(settings)} changes {name} from {before!r} to {after!r}; allowed: settings that keep it"
            )
    return changed


def load_suite(path: str) -> tuple[Suite, str]:
    """The checked suite of a file, and its text. Raises SpecError in one line."""
    file = Path(path)
    try:
        data, text = read_yaml(file)
    except FileNotFoundError:
        raise SpecError(f"no suite file {path!r}{_near(file)}") from None
    except OSError as error:
        raise SpecError(f"suite file {path!r} cannot be read: {error}") from None
    except SpecError as error:
        raise SpecError(f"suite file {path!r}: {error}") from None
    if data is None:
        raise SpecError(f"suite file {path!r} is empty; allowed: keys {', '.join(Suite.model_fields)}")
    return parse_suite(data), text


def parse_suite(data: Any) -> Suite:
    """A checked suite from plain data. Raises SpecError in one line."""
    suite = Suite.parse(data)
    for name in ("replicas", "shadow_replicas"):
        if getattr(suite, name) % 2:
            odd = f"{getattr(suite, name)} is odd; allowed: an even number, replicas come in pairs"
            raise SpecError(odd, (name,))
    for path, method in _methods(suite):
        if isinstance(method, Memoriser | Memorise | Injected):
            name = type(method).__name__.lower()
            raise SpecError(f"{name!r} is a control, which every suite runs by itself; allowed: any other", path)
    names = [model.name for model in suite.models]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SpecError(f"{name!r} is the name of two models; allowed: names that differ", ("models", index))
        if name in CONTROL_NAMES:
            raise SpecError(f"{name!r} is the name of a control; allowed: any other", ("models", index, "name"))
    _check_attacks(suite)
    _check_tuned(suite)
    return suite


def _check_attacks(suite: Suite) -> None:
    for kind in ("evasion", "inversion", "membership"):
        attacks = [registry.dump(kind, attack) for attack in getattr(suite, kind)]
        for index, attack in enumerate(attacks):
            if attack in attacks[:index]:
                name = label(kind, getattr(suite, kind)[index])
                raise SpecError(f"{name!r} is there twice; allowed: attacks that differ", (kind, index))
    if STRONGEST in labelled("membership", suite.membership):
        raise SpecError(
            f"{STRONGEST!r} is what the page calls the strongest attack; allowed: any other", ("membership",)
        )
    for name in labelled("evasion", suite.evasion).keys() & labelled("inversion", suite.inversion).keys():
        raise SpecError(f"{name!r} is an evasion and an inversion; allowed: labels that differ", ("inversion",))


def _check_tuned(suite: Suite) -> None:
    attacks = suite.attacks()
    names = [model.name for model in suite.models]
    for attack, models in suite.tuned.items():
        if attack not in attacks:
            raise SpecError(f"{shown(attack)} is no attack of the suite{suggest(attack, attacks)}", ("tuned",))
        for name in models:
            if name not in names:
                raise SpecError(f"{shown(name)} is no model of the suite{suggest(name, names)}", ("tuned", attack))
            try:
                suite.attack_on(name, attack, attacks[attack])
            except SpecError as error:
                raise SpecError(error.message, ("tuned", attack, name, *error.path)) from error


def recipes(suite: Suite) -> Iterator[tuple[Place, Recipe]]:
    """Place and recipe of all that a suite trains, but for its controls: models, shadow models, evaluators."""
    for index, model in enumerate(suite.models):
        if isinstance(model, ModelEntry):
            yield ("models", index), model
        elif model.shadow_recipe is not None:
            yield ("models", index, "shadow"), model.shadow_recipe
    for role in Evaluators.model_fields:
        yield ("evaluators", role), getattr(suite.evaluators, role)


def with_architecture(suite: Suite, place: Place, architecture: Spec) -> Suite:
    """The suite with another architecture in the recipe at a place of `recipes`."""

    def changed(value: Any, path: Place) -> Any:
        if not path:
            return value.model_copy(update={"architecture": architecture})
        if isinstance(value, list):
            return [changed(each, path[1:]) if index == path[0] else each for index, each in enumerate(value)]
        return value.model_copy(update={path[0]: changed(getattr(value, str(path[0])), path[1:])})

    return cast(Suite, changed(suite, place))


def _methods(suite: Suite) -> Iterator[tuple[Place, Spec]]:
    """Place and method of what must be no control."""
    for index, model in enumerate(suite.models):
        yield ("models", index, "architecture"), model.architecture
    for place, recipe in recipes(suite):
        yield (*place, "architecture"), recipe.architecture
        yield (*place, "regime"), recipe.regime
    yield from ((("inversion", i), attack) for i, attack in enumerate(suite.inversion))


def _near(file: Path) -> str:
    """A hint at suites that are there."""
    folder = file.parent if file.parent.is_dir() else Path("suites")
    found = sorted(str(p) for p in folder.glob("*.yaml")) if folder.is_dir() else []
    return suggest(str(file), found) if found else ""
