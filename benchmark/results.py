"""Read side of the results: what a suite's manifest and its trials' artifacts say. Loads no torch."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmark import older
from benchmark.older import sentence
from benchmark.stages.samples import cubes
from benchmark.store import CorruptArtifact, Store

Cubes = dict[tuple[str, str], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Done:
    """A finished trial with its labels.

    rows: dicts of `schema.MEASURE`. made: columns of `schema.PROVENANCE`. content: hash of all that the trial wrote.
    """

    key: str
    stage: str
    method: str
    model: str
    replica: int | None
    rows: tuple[dict[str, Any], ...]
    made: Mapping[str, Any]
    content: str

    def row(self, metric: str) -> dict[str, Any] | None:
        """The row of a metric that occurs once in this trial."""
        return next((row for row in self.rows if row["metric"] == metric), None)


class SuiteResults:
    """One suite's finished trials, failures and gaps, as they are now."""

    def __init__(self, store: Store, manifest: Mapping[str, Any]) -> None:
        self.store, self.manifest = store, manifest
        self.name, self.hash, self.about = manifest["suite"], manifest["suite_hash"], manifest["about"]
        failures = store.failures()
        self.done: list[Done] = []
        self.status: list[dict[str, Any]] = []
        found = store.finished({node["key"] for node in manifest["nodes"]})
        for node in manifest["nodes"]:
            key = node["key"]
            labels = {name: node[name] for name in ("stage", "method", "model", "replica")}
            if key in found:
                kept = found[key]
                self.done.append(Done(key, **labels, rows=kept.rows, made=kept.made, content=kept.content))
            state = "done" if key in found else "failed" if key in failures else "missing"
            error = _last_line(failures[key]["traceback"]) if state == "failed" else None
            self.status.append({"suite": self.name, **labels, "trial_key": key, "state": state, "error": error})

    def of_model(self, model: str) -> list[Done]:
        """Finished trials of a model, in the suite's order."""
        return self._by_model.get(model, [])

    def of(self, model: str, stage: str, method: str = "") -> dict[int, Done]:
        """Replica -> finished trial of a model, stage and method."""
        return {
            done.replica: done for done in self._by_place.get((model, stage, method), ()) if done.replica is not None
        }

    def made(self, model: str) -> dict[int, Done]:
        """Replica -> finished trial that trained the model, or took it from a checkpoint."""
        return self.of(model, "train") or self.of(model, "import")

    def methods(self, model: str, stage: str) -> list[str]:
        """Methods that a model has finished trials of, in the suite's order."""
        return list(dict.fromkeys(done.method for done in self.of_model(model) if done.stage == stage))

    def cubes(self, model: str, method: str) -> Iterator[tuple[tuple[str, str], npt.NDArray[np.float64]]]:
        """(space, metric) -> values (replicas, classes, samples) of an inversion attack on a model."""
        replicas = [self._samples(done.key) for done in self.of(model, "leakage", method).values()]
        for place in dict.fromkeys(place for replica in replicas for place in replica):
            parts = [replica[place] for replica in replicas if place in replica]
            shape = np.max([part.shape for part in parts], axis=0)
            yield place, np.stack([_padded(part, shape) for part in parts])

    def _samples(self, key: str) -> Cubes:
        table = self.store.table(key, "samples")
        try:
            return cubes(table)
        except (KeyError, ValueError, TypeError) as error:
            raise CorruptArtifact(key, "samples.parquet", f"no table of samples ({error})") from error

    def why_missing(self, model: str, stage: str, method: str = "") -> str:
        """Why a model has no value from a stage: the first failure on the way, or that it did not run."""
        own = [status for status in self._failed if status["model"] in (model, "")]
        place = [s for s in own if (s["stage"], s["method"]) == (stage, method)] or own
        if place:
            return f"{place[0]['stage']} failed: {place[0]['error']}"
        missing = {
            (s["stage"], s["method"]) for s in self.status if s["state"] == "missing" and s["model"] in (model, "")
        }
        told = [o for o in self.older if o["label"] in ("", method) and (o["stage"], o["label"]) in missing]
        return "; ".join(["not run yet", *dict.fromkeys(map(sentence, told))])

    @cached_property
    def older(self) -> list[dict[str, Any]]:
        """What `older.older` said of the plan, of methods that have trials to run."""
        missing = {(status["stage"], status["method"]) for status in self.status if status["state"] == "missing"}
        return [line for line in self.about.get("older", []) if (line["stage"], line["label"]) in missing]

    @property
    def outdated(self) -> list[str]:
        """Which finished trials are of an older version of a method than the code at hand has, in words."""
        done = {done.key for done in self.done}
        trials = (node.get("trial") for node in self.manifest["nodes"] if node["key"] in done)
        stages = (trial.get("stage") for trial in trials if isinstance(trial, dict))
        return older.outdated({id(stage): stage for stage in stages}.values())  # equal ones are one object

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
    return lines[-1].strip() if lines else "no reason was kept"
