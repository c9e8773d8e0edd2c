"""Suite files: mutated texts, values of any kind at any key, aliases. What loads can be planned and reads back."""

import io
import json
from pathlib import Path
from typing import Any, cast

import yaml
from hypothesis import strategies as st
from rich.console import Console

from benchmark import registry
from benchmark.live import planned
from benchmark.models.classifier import InputInfo
from benchmark.planning.check import prepare
from benchmark.planning.costs import Sizes
from benchmark.planning.given_model import Given
from benchmark.planning.models_of_suite import ExternalModel
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import Suite, load_suite, parse_suite
from benchmark.planning.suite_description import describe
from benchmark.results.plan_record import pack

from .harness import ROOT, Surface, asked, safe, wrong
from .values import at, edited, edits, odd_texts, odd_yaml, places, spliced, splices

TEXTS = {
    path.stem: path.read_bytes()
    for path in (*sorted((ROOT / "suites").glob("*.yaml")), ROOT / "tests/suites/tiny.yaml")
}
SIZES = Sizes(InputInfo(1, 28, 28, 10, (0.3,), (0.3,)), 1000, 3000, 1500, 1000)
TOKENS = (
    b"&a ", b"*a", b"<<: *a\n", b"<<: {a: 1}\n", b"!!python/object/apply:os.system [id]", b"!!binary aGk=",
    b"!!float ", b"!!int ", b"!!bool x", b"!!timestamp x", b"!!null x", b"!!map ", b"!!seq ", b"!!pairs [a]",
    b"!!set {a, b}", b"!!omap [a: 1]", b"!!timestamp 1-1-1", b"!x ", b"? ", b"? [a, b]\n: c\n", b": ", b"- ", b"[",
    b"]", b"{", b"}", b"[[[[" * 50, b"{a: " * 300, b"|\n", b">\n", b"\t", b"\r", b"\n", b"\x00", b"\xef\xbb\xbf",
    b"\xff\xfe", b"\xe9", b'"\\ud800"', b'"\\x1b[2J"', b"#", b"---\n", b"...\n", b"%YAML 9.9\n---\n", b"%TAG ! !\n",
    b"~", b".inf", b"-.inf", b".nan", b"1e400", b"0x" + b"f" * 400, b"0o17", b"1_000", b"1:30:00", b"9" * 5000,
    b"2001-01-01", b"=", b"yes", b"null", b"''", b'"', b"'", b"@", b"`", b"a" * 100_000, b"8/255", b"1/0", b"1/1e-400",
    b"name: x\n", b"replicas: 1024\n", b"replicas: " + b"1" * 4000 + b"\n", b"{method: pgd, norm: l2, epsilon: 1}",
    b"checkpoint: {path: .}\n", b"tuned: {}\n", b"threads: 0\n",
)  # fmt: skip
EXTERNAL = {"name": "given", "architecture": "small_vgg", "checkpoint": {"path": "x.pt", "normalisation": "data"}}
SOUND: dict[str, Any] = {
    **yaml.safe_load(TEXTS["tiny"]),
    "replicas": 2, "seed": 0, "threads": 1, "resources": {"train": {"gpus": 0.5}},
    "prices": {"currency": "EUR", "gpu_hour": {"default": 2.5}, "core_hour": 0.1},
    "tuned": {},
}  # fmt: skip
SOUND["models"].append(EXTERNAL)
for _name, _other in (
    ("inversion", {"method": "multiscale", "samples_per_class": 4}),
    ("inversion", {"method": "generator", "samples_per_class": 4}),
    ("inversion", {"method": "mi_face"}),
):
    SOUND[_name].append(_other)
LEAVES = [
    path
    for path in places(SOUND)
    if isinstance(at(SOUND, path), int | float) or path[-1:] in (("name",), ("path",), ("currency",))
]


@st.composite
def _bombs(draw: st.DrawFn) -> bytes:
    """Aliases of aliases, at one of the suite's keys."""
    depth, width = draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 9, 40]))
    kind = draw(st.sampled_from(["[{}]", "{{{}}}"]))
    lines = ["a0: &a0 x"]
    for level in range(1, depth + 1):
        inner = [f"*a{level - 1}" if kind == "[{}]" else f"k{i}: *a{level - 1}" for i in range(width)]
        lines.append(f"a{level}: &a{level} " + kind.format(", ".join(inner)))
    place = draw(st.sampled_from([key for key in SOUND if key != "models"]))
    suite = {**SOUND, place: "BOMB"}
    text = yaml.safe_dump(suite, sort_keys=False).replace("BOMB", f"*a{depth}")
    hidden = draw(st.booleans())  # as a value of the key alone, without keys of its own
    if hidden:
        nested = "x"
        for level in range(depth + 1):
            items = ", ".join([f"&b{level} {nested}", *[f"*b{level}"] * (width - 1)])
            nested = f"[{items}]"
        return yaml.safe_dump(suite, sort_keys=False).replace("BOMB", nested).encode()
    return ("\n".join(lines) + "\n" + text).encode()


@st.composite
def _typed(draw: st.DrawFn) -> list[tuple[str, tuple[str | int, ...], Any]]:
    """Values of the types that the keys want: most of these suites load."""
    numbers = st.sampled_from([0, 1, 2, 3, 4, 10, 100, 1023, 10**6, 2**31, 2**53 + 1, 2**63, 10**30, 10**400])
    reals = st.sampled_from([0.0, 1e-300, 1e-9, 0.001, 0.5, 0.999, 1.0, 2.0, 1e6, 1e300, "8/255", "1e-9/1e9", 1])
    found = []
    for path in draw(st.lists(st.sampled_from(LEAVES), min_size=1, max_size=4)):
        kind = type(at(SOUND, path))
        values = {int: st.one_of(numbers, st.integers(1, 50)), float: reals}.get(kind, odd_texts())
        found.append(("set", path, draw(values)))
    return found


CASES = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(sorted(TEXTS)), splices(TOKENS)),
    st.tuples(st.just("values"), edits(SOUND, odd_yaml())),
    st.tuples(st.just("values"), _typed()),
    st.tuples(st.just("bomb"), _bombs()),
)


def content_of(case: Any) -> bytes:
    if case[0] == "text":
        return spliced(TEXTS[case[1]], case[2])
    return case[1] if case[0] == "bomb" else dumped(edited(SOUND, case[1]))


def dumped(value: Any) -> bytes:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=False).encode("utf-8", "surrogatepass")


def check(case: Any, folder: Path) -> None:
    path = folder / "suite.yaml"
    path.write_bytes(content_of(case))
    suite, text = asked(load_suite, str(path))
    given = {model.name: Given("0" * 64, (0.3,), (0.3,), {}, 20, ()) for model in suite.models if _is_external(model)}
    plan = asked(build_plan, suite, "f" * 64, SIZES, given)
    lines = io.StringIO()
    Console(file=lines, width=132).print(*planned(plan, (), {}, 2, suite.prices), sep="\n", highlight=False)
    safe(lines.getvalue(), "bench plan")
    if len(plan.nodes) < 2000:
        record = pack(plan, describe(suite, text, "suite.yaml", "a card", given))
        _reads_back(record, folder, suite)
    written = suite.model_dump(mode="json")
    for again in (parse_suite(written), parse_suite(yaml.safe_load(yaml.safe_dump(written)))):
        if again.hash != suite.hash:
            wrong("a suite reads back as it is", f"{suite!r}\n{again!r}")
    if registry.dump("data", suite.data) == {"method": "fashion_mnist_13k", "version": 1} and suite.replicas < 20:
        asked(prepare, str(path), None, ())


def _reads_back(record: bytes, folder: Path, suite: Suite) -> None:
    from benchmark.results.finished_trials import plan_name
    from benchmark.results.store import Store

    (folder / "results" / "plans").mkdir(parents=True)
    (folder / "results" / "plans" / f"{plan_name(suite.name)}.json").write_bytes(record)
    kept = [plan["suite"] for plan in Store(folder / "results").plans()]
    if kept != [suite.name]:
        wrong("a plan that is written is read", json.dumps(json.loads(record)["about"])[:1000])


def _is_external(model: Any) -> bool:
    return isinstance(cast(object, model), ExternalModel)


SURFACE = Surface("suites", CASES, check, examples=100)
