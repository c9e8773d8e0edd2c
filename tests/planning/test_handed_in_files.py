"""Adversarial images that a suite names: a trial for each file, known by its content; mistakes are said beforehand."""

from pathlib import Path
from typing import Any

import command
import numpy as np
import pytest
from tiny_plan import SIZES

from benchmark import data, registry
from benchmark.planning import handed_in_files
from benchmark.planning.check import prepare
from benchmark.planning.handed_in_files import HandedInFile
from benchmark.planning.plan import Node, Plan, build_plan
from benchmark.planning.suite import parse_suite
from benchmark.spec import SpecError

IMAGES = data.load(registry.parse("data", "fashion_mnist_13k"), None)
OF_OTHER_CLASSES = int((IMAGES.test_labels == 7).nonzero()[0])
IDS = (IMAGES.test_labels < 3).nonzero().flatten()[[5, 2, 40]].numpy()


def moved(distance: float = 0.4) -> np.ndarray:  # type: ignore[type-arg]
    """One pixel of each image, by this much towards the other end of [0, 1]."""
    pixels = IMAGES.test_images[IDS].float().div(255).numpy()
    pixels[:, 0, 3, 4] += np.where(pixels[:, 0, 3, 4] > 0.5, -distance, distance)
    return pixels


def keep(path: Path, ids: Any = IDS, images: Any = None) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    np.savez(path, test_ids=ids, images=moved() if images is None else images)
    return path


def suite(*attacks: dict[str, Any], first: bool = False) -> dict[str, Any]:
    own, more = command.tiny()["evasion"], [{"method": "given", "norm": "l2", "epsilon": 0.5, **a} for a in attacks]
    return command.tiny(("evasion", [*more, *own] if first else [*own, *more]))


def examined(folder: Path, *attacks: dict[str, Any], first: bool = False) -> tuple[Plan, list[HandedInFile]]:
    """As `prepare` does it, without what has nothing to do with these files."""
    made = parse_suite(suite(*attacks, first=first))
    handed_in_files.check(made)
    files = handed_in_files.examine(made, folder, IMAGES, 3)
    return build_plan(made, "f" * 64, SIZES, handed_in=files), files


def given(made: Plan) -> list[Node]:
    return [node for node in made.nodes if node.method.startswith("given")]


def test_each_file_is_a_trial_of_the_replica_that_it_is_for(tmp_path: Path) -> None:
    keep(tmp_path / "a.npz"), keep(tmp_path / "far" / "b.npz", images=moved(0.3))
    attack = {"files": {"softmax": "a.npz", "hardened": [None, str(tmp_path / "far" / "b.npz")]}}
    made, files = examined(tmp_path, attack)
    places = [(node.stage, node.method, node.model, node.replica) for node in given(made)]
    assert places == [("evade", "given-l2-0.5", "softmax", 0), ("evade", "given-l2-0.5", "hardened", 1)]
    assert len(made.nodes) == 87 + 2
    hashes = [node.trial.stage["attack"]["sha256"] for node in given(made)]
    paths = [str(tmp_path / "a.npz"), str(tmp_path / "far" / "b.npz")]
    assert [(file.sha256, file.path) for file in files] == list(zip(hashes, paths, strict=True))


def test_a_key_holds_the_content_and_not_the_path_or_the_name(tmp_path: Path) -> None:
    keep(tmp_path / "a.npz"), keep(tmp_path / "b.npz"), keep(tmp_path / "c.npz", images=moved(0.3))
    (one,), (other,), (third,) = (
        given(examined(tmp_path, {"files": {"softmax": file}, "name": file[0]})[0])
        for file in ("a.npz", "b.npz", "c.npz")
    )
    assert one.key == other.key != third.key and one.method != other.method


def test_a_name_for_each_of_two_that_hand_in_images_for_one_replica(tmp_path: Path) -> None:
    keep(tmp_path / "a.npz"), keep(tmp_path / "b.npz", images=moved(0.3))
    files = [{"files": {"softmax": f"{name}.npz"}, "name": name} for name in ("a", "b")]
    assert [node.method for node in given(examined(tmp_path, *files)[0])] == ["given-l2-0.5-a", "given-l2-0.5-b"]


MISTAKES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no such model": ({}, {"softmaks": "a.npz"}, r"^evasion\[2\].files: 'softmaks' is no model of the suite \(did you"),
    "a control": ({}, {"memoriser": "a.npz"}, r"^evasion\[2\].files: 'memoriser' is no model of the suite; allowed: "),
    "no replica 2": ({}, {"softmax": ["a.npz"] * 3}, r"files.softmax: 3 files; allowed: up to 2, one a replica$"),
    "no such file": ({}, {"softmax": "b.npz"}, r"^evasion\[2\].files.softmax\[0\]: '.*b.npz' cannot be read \(No such"),
    "a folder": ({}, {"softmax": "."}, r"^evasion\[2\].files.softmax\[0\]: '.*' cannot be read \(Is a directory\)"),
    "ids": ({"ids": [5, 2, 99_999]}, {"softmax": "a.npz"}, r"a.npz': test_ids hold 99999, no test image; "),
    "classes": ({"ids": [*IDS[:2], OF_OTHER_CLASSES]}, {"softmax": "a.npz"}, rf"id {OF_OTHER_CLASSES} is of class 7; "),
    "the ball": ({"images": moved(0.6)}, {"softmax": "a.npz"}, r"test id \d+ is 0.6 away \(l2\), 0.1 too far;"),
    "the box": ({"images": moved() + 1}, {"softmax": "a.npz"}, r"test id \d+ has pixels from 1 to 2; allowed: "),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_found_before_anything_runs(tmp_path: Path, case: str) -> None:
    content, files, said = MISTAKES[case]
    keep(tmp_path / "a.npz", **content)
    with pytest.raises(SpecError, match=said) as error:
        examined(tmp_path, {"files": files})
    assert "\n" not in str(error.value)


def test_handed_in_images_are_not_the_primary_attack(tmp_path: Path) -> None:
    keep(tmp_path / "a.npz")
    with pytest.raises(
        SpecError, match=r"^evasion\[0\]: 'given' cannot be the primary attack; allowed: another attack"
    ):
        examined(tmp_path, {"files": {"softmax": "a.npz"}}, first=True)
    with pytest.raises(SpecError, match=r"^evasion\[2\]: 'given' names no file; allowed: files: "):
        examined(tmp_path, {"sha256": "a" * 64})


@pytest.mark.slow
def test_a_run_knows_the_files_and_bench_plan_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    keep(tmp_path / "a.npz")
    path = command.write(tmp_path, suite({"files": {"softmax": "a.npz"}}))
    made = prepare(str(path), None, ())
    (node,) = given(made.plan)
    assert made.files == ((node.trial.stage["attack"]["sha256"], str(tmp_path / "a.npz")),)
    assert made.about["evasion"][-1] == {"label": "given-l2-0.5", "kind": "given", "norm": "l2", "epsilon": 0.5}  # type: ignore[index]
    keep(tmp_path / "a.npz", images=moved(0.6))
    said = command.refusal(command.call("plan", path, "--results", tmp_path / "results"))
    assert said.startswith("evasion[2].files.softmax[0]: ") and said.endswith(" 0.1 too far; allowed: 0.5")
    assert not (tmp_path / "results").exists()
