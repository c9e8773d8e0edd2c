"""A suite file is checked whole before anything runs."""

import re
from pathlib import Path
from typing import Any

import command
import pytest

from benchmark.planning.suite import load_suite, parse_suite
from benchmark.spec import SpecError

RECIPE = {"architecture": "small_vgg", "regime": "standard"}
MISTAKES: list[tuple[str, Any, str]] = [
    ("evaluatoin", {}, "unknown key 'evaluatoin' (did you mean 'evaluation'?); allowed: corruptions, "),
    ("models.0.regime.epoch", 3, "models[0].regime: unknown key 'epoch' (did you mean 'epochs'?); allowed: augment"),
    ("models.0.regime.method", "standrad", "models[0].regime: unknown regime 'standrad' (did you mean 'standard'?)"),
    ("models.0.regime.method", 3, "models[0].regime: unknown regime 3; allowed: "),
    ("models.0.regime.method", [1], "models[0].regime: unknown regime [1]; allowed: "),
    ("models.0.architecture", "resnet19", "models[0].architecture: unknown architecture 'resnet19' (did you mean"),
    ("data", "fashion_mnist_13", "data: unknown data 'fashion_mnist_13' (did you mean 'fashion_mnist_13k'?); allowed"),
    (
        "evasion.0.epsilon",
        "8/0",
        "evasion[0].epsilon: '8/0' is neither a number nor a fraction; allowed: 0.03 or 8/255",
    ),
    ("evasion.0.epsilon", -1, "evasion[0].epsilon: -1.0 is not allowed: input should be greater than 0"),
    ("evasion.0.norm", "l3", "evasion[0].norm: 'l3' is not allowed: input should be 'linf' or 'l2'"),
    ("models", None, "models: this key is required"),
    ("models", [], "models: [] is not allowed: list should have at least 1 item"),
    ("models", "abc", "models: 'abc' is not allowed: input should be a valid list"),
    ("models.0", "abc", "models[0]: 'abc' is not allowed"),
    ("replicas", "two", "replicas: 'two' is not allowed: input should be a valid integer"),
    ("replicas", 2.0, "replicas: 2.0 is not allowed: input should be a valid integer"),
    ("replicas", True, "replicas: True is not allowed: input should be a valid integer"),
    ("replicas", 3, "replicas: 3 is odd; allowed: an even number"),
    ("replicas", -2, "replicas: -2 is not allowed: input should be greater than or equal to 2"),
    ("replicas", 10**9, "replicas: 1000000000 is not allowed: input should be less than or equal to 1024"),
    ("threads", 0, "threads: 0 is not allowed"),
    ("threads", 10**6, "threads: 1000000 is not allowed: input should be less than or equal to 1024"),
    ("seed", -1, "seed: -1 is not allowed"),
    ("pools.num_members", -5, "pools.num_members: -5 is not allowed"),
    ("pools.num_test", 0, "pools.num_test: 0 is not allowed"),
    ("pools.num_classes", 1, "pools.num_classes: 1 is not allowed"),
    ("pools.auxiliary", "3/2", "pools.auxiliary: '3/2' is not allowed: input should be less than 1"),
    ("evaluation.num_images", 0, "evaluation.num_images: 0 is not allowed"),
    ("inversion.0.steps", 0, "inversion[0].steps: 0 is not allowed"),
    ("models.1.name", "softmax", "models[1]: 'softmax' is the name of two models; allowed: names that differ"),
    ("models.1.name", " softmax ", "models[1]: 'softmax' is the name of two models; allowed: names that differ"),
    ("models.1.name", "memoriser", "models[1].name: 'memoriser' is the name of a control; allowed: any other"),
    ("models.1.name", "untrained", "models[1].name: 'untrained' is the name of a control; allowed: any other"),
    ("models.1.name", "injected", "models[1].name: 'injected' is the name of a control; allowed: any other"),
    ("models.1.name", " ", "models[1].name: ' ' is not allowed"),
    ("models.1.name", 3, "models[1].name: 3 is not allowed: input should be a valid string"),
    ("models.1.name", "x" * 201, "models[1].name: 'xxx"),
    ("models.1.name", "a\nb", r"models[1].name: 'a\nb' is not allowed"),
    ("models.1.name", "a\x1b[31m", r"models[1].name: 'a\x1b[31m' is not allowed"),
    ("models.1.architecture", "memoriser", "models[1].architecture: 'memoriser' is a control, which every suite runs"),
    ("evaluators.robust.regime", "memorise", "evaluators.robust.regime: 'memorise' is a control"),
    ("inversion.0", {"method": "injected", "what": "members"}, "inversion[0]: 'injected' is a control"),
    (
        "evasion.1",
        {"method": "pgd", "norm": "l2", "epsilon": "1/2", "steps": 5},
        "evasion[1]: 'pgd-l2-0.5' is there twice",
    ),
    ("inversion", [{"method": "gradient"}] * 2, "inversion[1]: 'gradient' is there twice"),
    (
        "membership",
        ["loss_threshold"] * 2,
        "membership[1]: 'loss_threshold' is there twice; allowed: attacks that differ",
    ),
]


@pytest.mark.parametrize(("path", "value", "said"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_named_in_one_line(path: str, value: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_suite(command.tiny((path, value)))
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


TEXTS = [
    (b"", "is empty; allowed: keys name, data, pools"),
    (b"# nothing\n", "is empty; allowed: keys name, data, pools"),
    (b"- 1\n", "[1] is not a mapping; allowed: keys name, data"),
    (b"word", "'word' is not a mapping; allowed: keys name, data"),
    (b"{", "not YAML: line 1, column 2: expected the node content"),
    (b"name: a\n\tdata: b\n", "not YAML: line 2, column 1: found character"),
    (b"a: 1\n---\nb: 2\n", "not YAML: line 2, column 1: but found another document"),
    (b"[" * 5000, "line 1: too many levels of nesting; allowed: 50"),
    (b"a: \0", "not YAML: unacceptable character #x0000"),
    (b"\x89PNG\r\n\x1a\n\xff", "line 1 is not UTF-8 (byte 0x89); allowed: UTF-8"),
    (b"name: a\nname: b\n", "line 2: the key 'name' is there twice"),
    (b"pools:\n  auxiliary: 0.1\n  auxiliary: 0.2\n", "line 3: the key 'auxiliary' is there twice"),
    (b"!!python/object/apply:os.system ['true']", "could not determine a constructor for the tag"),
    (b"? [1]\n: 2", "found unhashable key"),
]


@pytest.mark.parametrize(("text", "said"), TEXTS, ids=[repr(text[:20]) for text, _ in TEXTS])
def test_a_file_that_is_no_suite_is_named(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_bytes(text)
    with pytest.raises(SpecError) as error:
        load_suite(str(path))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_met_with_its_neighbors(tmp_path: Path) -> None:
    command.write(tmp_path, command.tiny(), "tiny.yaml")
    with pytest.raises(SpecError, match=r"no suite file .*tinny.yaml' \(did you mean '.*/tiny.yaml'\?\); allowed"):
        load_suite(str(tmp_path / "tinny.yaml"))
    with pytest.raises(SpecError, match=f"suite file {re.escape(repr(str(tmp_path)))} cannot be read"):
        load_suite(str(tmp_path))
    with pytest.raises(SpecError, match="no suite file"):
        load_suite(str(tmp_path / "absent" / "suite.yaml"))


def test_yaml_merges_work_and_the_later_word_counts(tmp_path: Path) -> None:
    text = command.TINY.read_text().replace(
        "regime: {method: standard, epochs: 1, lr: 0.02}", "regime: &sgd {method: standard, epochs: 1, lr: 0.02}"
    )
    text += "  # end\nthreads: 2\n"
    text = text.replace("regime: {method: standard, epochs: 2}", "regime: {<<: *sgd, epochs: 2}")
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    suite, read = load_suite(str(path))
    merged = suite.evaluators.standard.regime.model_dump()
    assert (merged["epochs"], merged["lr"], suite.threads, read) == (2, 0.02, 2, text)


def test_the_hash_is_of_the_settings_not_of_the_text() -> None:
    suite = command.tiny()
    backwards = dict(reversed(suite.items()))
    assert parse_suite(backwards).hash == parse_suite(suite).hash
    assert parse_suite(command.tiny(("evasion.0.epsilon", "1/2"))).hash == parse_suite(suite).hash
    assert parse_suite(command.tiny(("evasion.0.epsilon", "1/4"))).hash != parse_suite(suite).hash
