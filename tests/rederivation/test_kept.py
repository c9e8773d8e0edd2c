"""Reading raw output: what no run writes is named as such, files are read once, and a bug is no difference."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from benchmark.rederivation import verdict
from benchmark.rederivation.kept import Kept
from benchmark.results.store import CorruptArtifact

SCORES = {"image_id": [3, 5], "label": [0, 1], "group": [3, 5], "score": [0.5, 0.25], "judged": [True, True]}


class Files:
    """A store of one trial, which counts what is read."""

    def __init__(self, tensors: dict[str, np.ndarray], scores: dict[str, list[Any]]) -> None:
        self.tensors, self.scores, self.num_read = tensors, scores, 0

    def finished(self, keys: set[str], tell: object) -> dict[str, Any]:
        return {key: SimpleNamespace(files={"tensors.safetensors": {}}, rows=()) for key in keys}

    def arrays(self, key: str, *names: str) -> list[np.ndarray]:
        self.num_read += 1
        return [self.tensors[name] for name in names]

    def table(self, key: str, name: str, columns: pa.Schema) -> pa.Table:
        self.num_read += 1
        return pa.table(self.scores, schema=columns)


def kept(store: Files) -> Kept:
    """Of a suite whose model's replica 1 was asked about four images, two of which it was trained on."""
    node = {"key": "q", "stage": "query", "method": "", "model": "m", "replica": 1}
    nodes = [node | {"trial": {"stage": {}, "inputs": {"pools": "p"}}}]
    return Kept(store, {"suite": "s", "about": {"models": []}, "nodes": nodes}, {"q"})  # type: ignore[arg-type]


def queried() -> dict[str, np.ndarray]:
    member = np.array([True, True, False, False])
    ids = {name: np.arange(4) for name in ("image_id", "group")} | {"label": np.zeros(4, np.int64)}
    sides = {"is_member": member, "is_out": ~member, "never_seen": ~member, "correct": member}
    return ids | sides | {"margins": np.zeros((4, 1)), "adversarial": np.zeros((4, 0))}


def test_files_are_read_once_and_mates_are_cut_alike() -> None:
    store = Files(queried(), SCORES | {"is_member": [True, False]})
    found = kept(store)
    sides, cut = found.sides("p", 1), found.cut("p", 1)
    assert sides is not None and cut is not None and found.cut("p", 1) is cut
    assert (cut[1][0] == sides["is_member"]).all() and (cut[1].sum(1) == 2).all()
    assert found.sides("p", 0) is None and found.cut("p", 0) is None
    assert found.table("q", "scores") is found.table("q", "scores") and store.num_read == 2


@pytest.mark.parametrize(("name", "kind"), [("is_member", float), ("label", float), ("margins", int), ("group", bool)])
def test_tensors_of_another_kind_are_no_runs_output(name: str, kind: type) -> None:
    tensors = queried()
    tensors[name] = tensors[name].astype(kind)
    with pytest.raises(CorruptArtifact, match=f"trial q: .*{name}"):
        kept(Files(tensors, {})).sides("p", 1)


def test_a_label_an_image_is_a_vector() -> None:
    tensors = queried()
    for odd in (tensors["label"][:, None], tensors["label"][0]):
        with pytest.raises(CorruptArtifact, match="label is int64"):
            kept(Files(tensors | {"label": np.asarray(odd)}, {})).sides("p", 1)


def test_gaps_are_allowed_in_real_columns_alone() -> None:
    found = kept(Files({}, SCORES | {"is_member": [True, False], "score": [None, 1.0]})).table("q", "scores")
    assert np.isnan(found["score"][0]) and found["judged"].dtype == bool
    with pytest.raises(CorruptArtifact, match="is_member has gaps"):
        kept(Files({}, SCORES | {"is_member": [True, None]})).table("q", "scores")


def derived(error: Exception) -> Iterator[int]:
    yield 1
    raise error


def test_a_bug_of_the_checker_is_no_difference() -> None:
    """What odd output ends in is a check that fails; what else goes wrong is said as it is."""
    nothing, (failure,) = verdict._all(derived, ValueError("shapes"))
    assert (nothing, failure.difference, failure.where) == ([], np.inf, "ValueError: shapes")
    for bug in (KeyError("score"), TypeError("float"), AssertionError()):
        with pytest.raises(type(bug)):
            verdict._all(derived, bug)
