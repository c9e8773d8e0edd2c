"""A results folder with numbers written by hand, to be summed up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from benchmark import schema
from benchmark.planning.plan import Node, Plan
from benchmark.results.store import Store
from benchmark.stages.shared.samples import SCHEMA
from benchmark.trials.trial import Outcome, Row, Trial

PROVENANCE = {
    "git_commit": "c0ffee", "versions": "python 3", "device": "abacus", "host": "h", "threads": 1, "wall_s": 2.0,
    "gpu_s": 0.5, "created_utc": "2026-01-01T00:00:00.000+00:00",
}  # fmt: skip
EVASION = [
    {"label": "pgd-l2-1", "kind": "iterated", "norm": "l2", "epsilon": 1.0},
    {"label": "fgsm-l2-1", "kind": "one_step", "norm": "l2", "epsilon": 1.0},
]
Grid = Sequence[Sequence[float]]


def share(metric: str, hits: int, n: int) -> Row:
    return Row(metric=metric, value=hits / n, low=0.0, high=1.0, n=n)


class Board:
    """Collects trials, written or missing; `finish` writes the suite's plan."""

    def __init__(self, root: Path | str, models: Sequence[str], prices: Mapping[str, Any] | None = None) -> None:
        self.store, self.models, self.prices = Store(root), models, prices
        self.nodes: list[Node] = []

    def add(
        self,
        stage: str,
        model: str,
        replica: int,
        rows: Sequence[Row] | None,
        method: str = "",
        made: Mapping[str, Any] | None = None,
        inputs: Mapping[str, str] | None = None,
        tensors: Mapping[str, torch.Tensor] | None = None,
        **tables: pa.Table,
    ) -> Node:
        """A trial; rows None: it has no results. made: what of its provenance is not as usual."""
        trial = Trial({"method": stage, "number": len(self.nodes)}, 0, inputs or {})
        node = Node(trial, trial.key, stage, method, model, replica, 1.0)
        self.nodes.append(node)
        if rows is not None:
            self.store.write(
                trial, Outcome(list(rows), tensors=dict(tensors or {}), tables=tables), {**PROVENANCE, **(made or {})}
            )
        return node

    def predicted(self, model: str, right: Sequence[int], members: Sequence[int], n: int = 100) -> None:
        for replica, (on_test, on_members) in enumerate(zip(right, members, strict=True)):
            self.add("train", model, replica, [Row(metric="num_trained_on", value=40.0)])
            self.add(
                "predict",
                model,
                replica,
                [share("clean_accuracy", on_test, n), share("member_accuracy", on_members, n)],
            )

    def evaded(self, model: str, method: str, right: Sequence[int], curve: Sequence[float], n: int = 100) -> None:
        for replica, hits in enumerate(right):
            table = pa.table({"step": range(len(curve)), "loss": list(curve)})
            self.add("evade", model, replica, [share("robust_accuracy", hits, n)], method, curve=table)

    def leaked(
        self, model: str, method: str, replicas: Sequence[Mapping[tuple[str, str], Grid]], *, pictures: bool = True
    ) -> None:
        """replicas: of each, (space, metric) -> values (classes, samples). pictures: with their tables, empty."""
        for replica, grids in enumerate(replicas):
            records = [
                {"class_id": c, "sample": s, "space": space, "metric": metric, "value": value}
                for (space, metric), grid in grids.items()
                for c, line in enumerate(grid)
                for s, value in enumerate(line)
            ]
            table = pa.Table.from_pylist(records, schema=SCHEMA)
            shown = {name: schema.unlabelled(name).empty_table() for name in schema.SHOWN if pictures}
            self.add("leakage", model, replica, [], method, samples=table, **shown)

    def finish(self) -> Store:
        models = [
            {"name": m, "architecture": "a", "regime": "r", "train_norm": None, "train_epsilon": None}
            for m in self.models
        ]
        about: dict[str, Any] = {
            "yaml": "", "path": "s.yaml", "data": "d", "replicas": 2, "models": models, "evasion": EVASION,
            "inversion": ["gradient"], "membership": ["loss_threshold"], "prices": self.prices,
        }  # fmt: skip
        self.store.write_plan(Plan("hand", "0" * 64, tuple(self.nodes)), about)
        return self.store
