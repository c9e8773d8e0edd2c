"""Reads the results of one suite: its plan, and the rows and artifacts of its trials. Loads no torch."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmark.aggregation.finished_trial import Done, Scores, pair_of
from benchmark.metrics import STRONGEST, Metric
from benchmark.reading.plausible_values import is_number
from benchmark.reading.text import shortened
from benchmark.results import older_versions
from benchmark.results.older_versions import sentence
from benchmark.results.store import CorruptArtifact, Store
from benchmark.stages.shared import samples
from benchmark.stats import audit

T = TypeVar("T")
Cubes = dict[tuple[str, str], npt.NDArray[np.float64]]
_IDS = [(name, pa.int64()) for name in ("image_id", "label", "group")]
_SCORES = pa.schema([*_IDS, ("score", pa.float64()), ("is_member", pa.bool_()), ("judged", pa.bool_())])
_CURVE = pa.schema([("loss", pa.float64())])
_MOST_CELLS, _MOST_EMPTY = 2**20, 10_000
"""Replicas times classes times samples of a measure; of which most may be empty where they are so few."""
_LONGEST_REASON = 500
_ASKED_FOR = ("robustness_curve", "corrupt")
"""Stages that a suite has where it asks for them."""


def method_of(metric: Metric, about: Mapping[str, Any]) -> str:
    """Label of the attack that a column is about: its own, the suite's primary one, or the strongest."""
    primary = {
        "evade": about["evasion"][0]["label"],
        "leakage": about["inversion"][0],
        "infer_membership": STRONGEST,
    }
    return metric.method or primary.get(metric.stage, "")


class SuiteResults:
    """One suite's finished trials, failures and gaps, as they are now.

    problems: trials of which a file is not what a run writes. They count as missing.
    """

    def __init__(self, store: Store, manifest: Mapping[str, Any]) -> None:
        self.store, self.manifest = store, manifest
        self.name, self.hash, self.about = manifest["suite"], manifest["suite_hash"], manifest["about"]
        failures = store.failures()
        self.done: list[Done] = []
        self.status: list[dict[str, Any]] = []
        self.problems: list[CorruptArtifact] = []
        self._made_of, self._made = "", dict[object, Any]()
        found = store.finished({node["key"] for node in manifest["nodes"]}, self.problems.append)
        for node in manifest["nodes"]:
            key = node["key"]
            labels = {name: node[name] for name in ("stage", "method", "model", "replica")}
            if key in found:
                kept = found[key]
                self.done.append(Done(key, **labels, rows=kept.rows, made=kept.made, content=kept.content))
            state = "done" if key in found else "failed" if key in failures else "missing"
            error = _last_line(failures[key]["traceback"]) if state == "failed" else None
            self.status.append({"suite": self.name, **labels, "trial_key": key, "state": state, "error": error})

    def pass_over(self, problem: CorruptArtifact) -> None:
        """Go on without a trial that turned out not to be one. Raises the problem where it is of another suite's."""
        if all(done.key != problem.key for done in self.done):
            raise problem
        self.problems.append(problem)
        self.done = [done for done in self.done if done.key != problem.key]
        for status in self.status:
            if status["trial_key"] == problem.key:
                status["state"] = "missing"
        for name in ("_by_model", "_by_place"):
            self.__dict__.pop(name, None)
        self._made = {}

    def once(self, model: str, name: object, make: Callable[[], T]) -> T:
        """What `make` gives of a model, made once in a row: what is kept of one is forgotten with the next model."""
        if self._made_of != model:
            self._made_of, self._made = model, {}
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def of_model(self, model: str) -> list[Done]:
        """Finished trials of a model, in the suite's order."""
        return self._by_model.get(model, [])

    def of(self, model: str, stage: str, method: str = "") -> dict[int, Done]:
        """Replica -> finished trial of a model, stage and method."""
        return {
            done.replica: done for done in self._by_place.get((model, stage, method), ()) if done.replica is not None
        }

    def made(self, model: str) -> dict[int, Done]:
        """Replica -> finished trial that trained the model, or took it from a checkpoint; shadow models included."""
        return self.of(model, "import") or self.of(model, "train")

    def is_measured(self, replica: int) -> bool:
        """Whether a replica is attacked and inverted, not only a shadow model of others."""
        return not self.about.get("shadow_replicas") or replica < self.about["replicas"]

    def methods(self, model: str, stage: str) -> list[str]:
        """Methods that a model has finished trials of, in the suite's order."""
        return list(dict.fromkeys(done.method for done in self.of_model(model) if done.stage == stage))

    def cubes(self, model: str, method: str) -> Iterator[tuple[tuple[str, str], npt.NDArray[np.float64]]]:
        """(space, metric) -> values (replicas, classes, samples) of an inversion attack on a model; see `pairs`."""
        trials = list(self.of(model, "leakage", method).values())
        replicas = [self._samples(done.key) for done in trials]
        for place in dict.fromkeys(place for replica in replicas for place in replica):
            parts = [replica[place] for replica in replicas if place in replica]
            shape = np.max([part.shape for part in parts], axis=0)
            cells, values = len(replicas) * int(shape.prod()), sum(part.size for part in parts)
            if cells > min(_MOST_CELLS, max(_MOST_EMPTY, 4 * values)):
                largest = max(range(len(parts)), key=lambda i: parts[i].size)
                reason = f"{place[1]}: classes and samples of other numbers than the other replicas have"
                raise CorruptArtifact(trials[largest].key, "samples.parquet", reason)
            empty = np.full(tuple(shape), np.nan)
            yield place, np.stack([_padded(replica.get(place, empty), shape) for replica in replicas])

    def pairs(self, model: str, stage: str, method: str = "") -> list[int]:
        """The pair of each replica that has a trial, in their order."""
        return [pair_of(replica) for replica in self.of(model, stage, method)]

    def inputs(self, key: str) -> Mapping[str, str]:
        """Role -> key of the trials that a trial of the plan reads; empty where the plan's record does not say."""
        return self._inputs.get(key, {})

    @cached_property
    def _inputs(self) -> dict[str, Mapping[str, str]]:
        trials = {node["key"]: node.get("trial") for node in self.manifest["nodes"]}
        found = {key: trial.get("inputs") for key, trial in trials.items() if isinstance(trial, dict)}
        return {key: inputs for key, inputs in found.items() if isinstance(inputs, dict)}

    def _samples(self, key: str) -> Cubes:
        table = self.table(key, "samples", samples.SCHEMA)
        try:
            return samples.cubes(table)
        except ValueError as error:
            raise CorruptArtifact(key, "samples.parquet", str(error)) from error

    def scores(self, done: Done) -> Scores:
        """What a trial of `infer_membership` says of all private images. Raises CorruptArtifact."""
        return self.once(done.model, ("scores", done.key), lambda: self._scores(done))

    def _scores(self, done: Done) -> Scores:
        table = self.table(done.key, "scores", _SCORES)
        image, label, group, score, member, judged = (column.to_numpy() for column in table.columns)
        complete = not any(column.null_count for column in table.columns) and np.isfinite(score).all()
        if not complete or min((member & judged).sum(), (~member & judged).sum()) < 2:
            reason = "no scores of members and others, at least two of each"
            raise CorruptArtifact(done.key, "scores.parquet", reason)
        return Scores(audit.Run(score, member, label, group, judged), image, done.pair)

    def curve(self, key: str) -> list[float]:
        """The losses of an attack's steps. Raises CorruptArtifact."""
        losses: list[float] = self.table(key, "curve", _CURVE)["loss"].to_pylist()
        if not all(map(is_number, losses)):
            raise CorruptArtifact(key, "curve.parquet", "a loss is not finite")
        return losses

    def table(self, key: str, name: str, columns: pa.Schema) -> pa.Table:
        """A table of a trial. Raises CorruptArtifact, also where the trial wrote none."""
        try:
            return self.store.table(key, name, columns)
        except ValueError as error:  # the trial did not write it
            raise CorruptArtifact(key, f"{name}.parquet", str(error)) from error

    def why_missing(self, model: str, stage: str, method: str = "") -> str:
        """Why a model has no value from a stage: the first failure on the way, or that it did not run."""
        if stage in _ASKED_FOR and stage not in self._stages:
            return "the suite does not ask for it"
        own = [status for status in self._failed if status["model"] in (model, "")]
        place = [s for s in own if s["stage"] == stage and method in (s["method"], STRONGEST)] or own
        if place:
            return f"{place[0]['stage']} failed: {place[0]['error']}"
        missing = {
            (s["stage"], s["method"]) for s in self.status if s["state"] == "missing" and s["model"] in (model, "")
        }
        found = (o for o in self.older if method == STRONGEST or o["label"] in ("", method))
        told = [o for o in found if (o["stage"], o["label"]) in missing]
        return "; ".join(["not run yet", *dict.fromkeys(map(sentence, told))])

    @cached_property
    def older(self) -> list[dict[str, Any]]:
        """What `older_versions.older` said of the plan, of methods that have trials to run."""
        missing = {(status["stage"], status["method"]) for status in self.status if status["state"] == "missing"}
        return [line for line in self.about.get("older", []) if (line["stage"], line["label"]) in missing]

    @property
    def outdated(self) -> list[str]:
        """Which finished trials are of an older version of a method than the code at hand has, in words."""
        done = {done.key for done in self.done}
        trials = (node.get("trial") for node in self.manifest["nodes"] if node["key"] in done)
        stages = (trial.get("stage") for trial in trials if isinstance(trial, dict))
        return older_versions.outdated({id(stage): stage for stage in stages}.values())  # equal ones are one object

    @cached_property
    def _stages(self) -> set[str]:
        return {status["stage"] for status in self.status}

    @cached_property
    def _failed(self) -> list[dict[str, Any]]:
        return [status for status in self.status if status["state"] == "failed"]

    @cached_property
    def _by_model(self) -> dict[str, list[Done]]:
        found: dict[str, list[Done]] = {}
        for done in self.done:
            found.setdefault(done.model, []).append(done)
        return found

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, str], list[Done]]:
        found: dict[tuple[str, str, str], list[Done]] = {}
        for done in self.done:
            found.setdefault((done.model, done.stage, done.method), []).append(done)
        return found


def _padded(values: npt.NDArray[np.float64], shape: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    full = np.full(tuple(shape), np.nan)
    full[: values.shape[0], : values.shape[1]] = values
    return full


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return shortened(lines[-1].strip(), _LONGEST_REASON).replace("\n", " ") if lines else "no reason was kept"
