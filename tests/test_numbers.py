"""Every number of a suite has bounds, and one that no machine holds ends in one line, wherever it stands."""

import copy
import math
import time
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

import command
import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from benchmark import registry
from benchmark.planning import given_model, gpu_shares, suite
from benchmark.planning.check import prepare
from benchmark.planning.gpu_shares import Share
from benchmark.planning.prices import Prices
from benchmark.planning.suite import Suite, parse_suite
from benchmark.reading.text import shown
from benchmark.spec import Spec, SpecError

SHIPPED = [
    (kind, name)
    for kind, names in registry.KINDS.items()
    for name, where in names.items()
    if where.startswith("benchmark.")
]
"""Other files of tests may have registered classes of theirs by now."""
METHODS = [registry.lookup(kind, name) for kind, name in SHIPPED]
OF_SUITES = [
    found
    for module in (suite, given_model, gpu_shares)
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, Spec) and found is not Spec
]
ALL = list(dict.fromkeys([*METHODS, *OF_SUITES, Prices, Share]))


def unbounded(annotation: Any, metadata: tuple[Any, ...]) -> Iterator[str]:
    """The numeric types in an annotation that lack a lower or an upper bound."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        for each in more:
            metadata += tuple(each.metadata) if isinstance(each, FieldInfo) else (each,)
        yield from unbounded(inner, metadata)
    elif get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from unbounded(each, metadata)
    elif get_origin(annotation) in (list, tuple, dict, set):
        for each in get_args(annotation):  # bounds of a list are of its length
            yield from unbounded(each, ())
    elif annotation in (int, float):
        below = any(isinstance(bound, Ge | Gt) for bound in metadata)
        if not below or not any(isinstance(bound, Le | Lt) for bound in metadata):
            yield annotation.__name__


@pytest.mark.parametrize("method", ALL, ids=lambda method: method.__name__)
def test_every_numeric_setting_has_a_lower_and_an_upper_bound(method: type[Spec]) -> None:
    found = {
        name: kinds
        for name, field in method.model_fields.items()
        if (kinds := list(unbounded(field.annotation, tuple(field.metadata))))
    }
    assert not found, f"{method.__name__}: give these ge= or gt=, and le= or lt="


def test_the_search_for_missing_bounds_finds_them() -> None:
    from pydantic import Field

    class Careless(Spec):
        a: int
        b: float | None = Field(default=None, ge=0)
        c: list[Annotated[int, Field(le=3)]] = Field(min_length=1)
        d: dict[str, float] = {}
        e: Annotated[int, Field(ge=0, le=3)] | None = None
        f: bool = False

    found = [name for name, f in Careless.model_fields.items() if list(unbounded(f.annotation, tuple(f.metadata)))]
    assert found == ["a", "b", "c", "d"]
    assert len(ALL) > 50 and Suite in ALL and given_model.Normalisation in ALL


def whole() -> dict[str, Any]:
    """A suite that sets something of every kind."""
    of_all = {
        "name": "all",
        "architecture": {"method": "mlp", "hidden": [8, 8]},
        "checkpoint": {
            "path": "absent.safetensors",
            "normalisation": {"mean": [0.5], "std": [0.5]},
            "members": {"first": 10},
            "clean_accuracy": 0.5,
            "adversary": {"norm": "linf", "epsilon": "8/255"},
        },
    }
    pgd = {"method": "pgd", "norm": "l2", "epsilon": 0.5, "steps": 5, "step_size": 0.1, "restarts": 1}
    made = [
        {"method": "gradient", "radius": 3, "step_size": 0.5},
        {"method": "mi_face", "beta": 3, "gamma": 0.1},
        {"method": "generator", "steps": 24, "realism": 0.1, "prior": {"method": "dcgan", "width": 4, "lr": 0.1}},
    ]
    return {
        **command.tiny(("models", [*command.tiny()["models"], of_all]), ("evasion.0", pgd), ("inversion", made)),
        "seed": 1,
        "threads": 1,
        "resources": {"invert": {"gpus": 0.5}},
        "prices": {"currency": "USD", "gpu_hour": {"default": 2.5}, "core_hour": 0.1},
        "tuned": {"gradient": {"softmax": {"step_size": 0.1, "start_std": 0.2}}},
    }


def numbers(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the numbers of plain data stand, fractions as text among them."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(part, (*place, key))
    elif (isinstance(value, int | float) and not isinstance(value, bool)) or value == "8/255":
        yield place


WHOLE = whole()
PLACES = list(numbers(WHOLE))
WILD = [
    10**400, -(10**400), 2**70, 1e308, -1e308, math.nan, math.inf, -math.inf, "1" + "0" * 400, "9" * 100_000 + "x",
    "1e400", "1e308/1e-308", 10**5000, [10**400], [[10**5000]], {"a": 10**400}, {10**400: 1}, "1" + "0" * 5000,
]  # fmt: skip


def test_there_are_many_numbers_in_a_suite() -> None:
    parse_suite(WHOLE)
    written = {".".join(map(str, place)) for place in PLACES}
    assert len(PLACES) > 40 and written >= {
        "tuned.gradient.softmax.start_std",
        "prices.gpu_hour.default",
        "resources.invert.gpus",
        "models.2.checkpoint.normalisation.std.0",
        "inversion.2.prior.width",
        "models.2.architecture.hidden.1",
        "evasion.0.step_size",
        "seed",
    }


@pytest.mark.parametrize("wild", WILD, ids=lambda value: shown(value, 12))
def test_a_number_that_nobody_means_ends_in_one_short_line_wherever_it_stands(wild: Any) -> None:
    begin = time.process_time()
    for place in PLACES:
        with pytest.raises(SpecError) as error:
            parse_suite(with_value(place, wild))
        said = str(error.value)
        assert "\n" not in said and len(said) < 400 and str(place[0]) in said, said
    assert time.process_time() - begin < 3


def with_value(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    made: Any = copy.deepcopy(WHOLE)
    *way, last = place
    inner = made
    for key in way:
        inner = inner[key]
    inner[last] = value
    return made  # type: ignore[no-any-return]


def test_the_lines_name_key_value_and_what_is_allowed() -> None:
    for path, value, said in (
        ("inversion.0.steps", 10**400, "inversion[0].steps: 1000"),
        (
            "inversion.0.steps",
            10**8,
            "inversion[0].steps: 100000000 is not allowed: input should be less than or equal",
        ),
        ("seed", 2**63, "seed: 9223372036854775808 is not allowed; allowed: whole numbers of at most 18 digits"),
        ("seed", 2**62 + 1, "seed: 4611686018427387905 is not allowed: input should be less than or equal to 46116860"),
        ("evasion.0.epsilon", "1e400", "evasion[0].epsilon: '1e400' is not finite; allowed: 0.03 or 8/255"),
        ("prices", {"currency": "USD", "gpu_hour": 10**400}, "prices.gpu_hour: 1000"),
        ("x" * 10**6, 1, "unknown key 'xxxx"),
        ("models.0.name", ["y"] * 10**5, "models[0].name: ['y', 'y', "),
    ):
        with pytest.raises(SpecError) as error:
            parse_suite(command.tiny((path, value)))
        assert str(error.value).startswith(said) and len(str(error.value)) < 400


CHECKPOINT = {"path": "absent.pt", "adversary": {"norm": "linf", "epsilon": "8/255"}}
OTHER = {"name": "other", "architecture": "resnet18", "checkpoint": CHECKPOINT}
LINF = {"method": "pgd", "norm": "linf", "epsilon": "8/255"}
PIXELS: list[tuple[str, Any, str]] = [
    (
        "evasion.0",
        {**LINF, "epsilon": 8},
        "evasion[0].epsilon: 8 is not allowed; pixels are in [0, 1]: allowed: above 0, ",
    ),
    ("evasion.0", {**LINF, "epsilon": 8}, "up to 1, such as 8/255"),
    ("evasion.0", {"method": "pgd", "epsilon": 4.0}, "up to 1, such as 4/255"),
    ("evasion.0", {**LINF, "epsilon": "8"}, "evasion[0].epsilon: 8 is not allowed; pixels are in [0, 1]"),
    ("evasion.0", {**LINF, "epsilon": "2000/255"}, "evasion[0].epsilon: 7.843 is not allowed; pixels are in [0, 1]"),
    ("evasion.0", {"method": "fgsm", "epsilon": 300}, "allowed: above 0, up to 1, such as 8/255"),
    ("evasion.0", {**LINF, "step_size": 2}, "evasion[0].step_size: 2 is not allowed; pixels are in [0, 1]"),
    (
        "evasion.0",
        {**LINF, "norm": "l2", "epsilon": 20_000},
        "evasion[0].epsilon: 20000.0 is not allowed: input should",
    ),
    (
        "models.1.regime",
        {"method": "pgd_at", "epsilon": 8},
        "models[1].regime.epsilon: 8 is not allowed; pixels are in",
    ),
    (
        "models.1.regime",
        {"method": "pgd_at", "epsilon": 0.1, "step_size": 2},
        "models[1].regime.step_size: 2 is not allowed; pixels are in [0, 1]",
    ),
    (
        "models.2.checkpoint.adversary.epsilon",
        8,
        "models[2].checkpoint.adversary.epsilon: 8 is not allowed; pixels are",
    ),
    (
        "models.2.checkpoint.normalisation",
        {"mean": [125.3, 0.5, 0.5], "std": [63.0, 0.2, 0.2]},
        "models[2].checkpoint.normalisation.mean[0]: 125.3 is not allowed; pixels are in [0, 1]: allowed: up to 1,",
    ),
    (
        "models.2.checkpoint.normalisation",
        {"mean": [0.5], "std": [63.0]},
        "models[2].checkpoint.normalisation.std[0]: 63 is not allowed; pixels are in [0, 1]: allowed: up to 1, such as",
    ),
    ("models.2.checkpoint.normalisation", {"mean": [-0.5], "std": [1]}, "normalisation.mean[0]: -0.5 is not allowed"),
    (
        "inversion.0",
        {"method": "gradient", "norm": "linf", "radius": 8},
        "inversion[0].radius: 8 is not allowed; pixels",
    ),
    (
        "tuned",
        {"pgd-l2-0.5": {"softmax": {"norm": "linf", "step_size": 3}}},
        "step_size: 3 is not allowed; pixels are in",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), PIXELS, ids=lambda value: str(value)[:50])
def test_what_is_in_the_units_of_255_levels_is_refused(path: str, value: Any, said: str) -> None:
    models = copy.deepcopy([*command.tiny()["models"], OTHER])
    with pytest.raises(SpecError) as error:
        parse_suite(command.tiny(("models", models), (path, value)))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_what_is_in_pixel_units_is_taken() -> None:
    for epsilon in ("8/255", "255/255", 1, 1.0, 0.5):
        made = parse_suite(command.tiny(("evasion.0", {**LINF, "epsilon": epsilon, "step_size": "255/255"})))
        assert made.evasion[0].search_space["step_size"].high <= 1  # type: ignore[attr-defined]
    parse_suite(command.tiny(("inversion.0", {"method": "gradient", "norm": "linf", "step_size": 8, "radius": None})))
    wide = {"mean": [0, 1], "std": ["1/255", 1.0]}
    given_model.Checkpoint.parse({"path": "a.pt", "normalisation": wide, "adversary": {"norm": "l2", "epsilon": 8}})


@pytest.mark.parametrize("place", ["evasion.0.epsilon", "models.1.regime.epsilon"])
def test_an_l2_ball_is_no_wider_than_all_images(tmp_path: Any, place: str) -> None:
    prepare(str(command.write(tmp_path, command.tiny((place, 28)))), None, ())
    with pytest.raises(SpecError) as error:
        prepare(str(command.write(tmp_path, command.tiny((place, 28.1)))), None, ())
    assert str(error.value).startswith(
        place.replace(".0", "[0]").replace(".1", "[1]") + ": 28.1 is not allowed; allowed: "
    )
    assert str(error.value).endswith("up to 28, the largest l2 distance of two images of 1 x 28 x 28 pixels in [0, 1]")


@pytest.mark.parametrize("number", ["9" * 30, "-1", "9" * 400, "1e3", "nan"])
def test_the_numbers_of_the_command_line_have_bounds(tmp_path: Any, number: str) -> None:
    for call in (
        ["run", command.TINY, "--slots", number],
        ["tune", command.TINY, "--out", tmp_path / "a.yaml", "--budget", number],
        ["tune", command.TINY, "--out", tmp_path / "a.yaml", "--seed", number],
        ["run", command.TINY, "--gpus-per-trial", number],
        ["figures", "--replica", number],
    ):
        line = command.refusal(command.call(*call, "--results" if call[0] != "figures" else "--site", tmp_path / "r"))
        assert str(call[-2]) in line and not (tmp_path / "r").exists()
