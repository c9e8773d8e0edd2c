"""`Trial`, its key, and `Stage`: a stage with settings, a seed and inputs gives rows and artifacts."""

import functools
import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypedDict

from benchmark import registry
from benchmark.machine.devices import resolved
from benchmark.machine.freed_memory import keep_freed_memory
from benchmark.spec import Spec
from benchmark.trials.training_progress import EVERY_S, Keeper, Progress
from benchmark.user_files import include
from benchmark.user_files.include import Source

if TYPE_CHECKING:
    import pyarrow as pa
    import torch


def key_of(stage: str, seed: int, inputs: Mapping[str, str]) -> str:
    """sha256 (64 hex digits) of the canonical JSON of a trial. stage: canonical JSON."""
    text = f'{{"inputs":{registry.canonical(dict(inputs))},"seed":{registry.canonical(seed)},"stage":{stage}}}'
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Trial:
    """What is computed, and from what. Equal trials have equal keys on every machine.

    stage: JSON of a stage Spec (see `registry.dump`). inputs: role -> key of a parent trial.
    """

    stage: Mapping[str, Any]
    seed: int
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """sha256 (64 hex digits) of everything that can change a number of this trial."""
        return key_of(registry.canonical(dict(self.stage)), self.seed, self.inputs)

    def to_json(self) -> dict[str, Any]:
        return {"stage": dict(self.stage), "seed": self.seed, "inputs": dict(self.inputs)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Trial":
        return cls(stage=data["stage"], seed=data["seed"], inputs=data["inputs"])


class Row(TypedDict, total=False):
    """One measured number. `low` and `high`: 95% interval; `n`: units; `note`: why it is empty.

    A trial leaves `stage` to the store.
    """

    stage: str
    method: str
    space: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int | None
    note: str | None


@dataclass
class Outcome:
    """What a trial returns: rows, tensors (one safetensors file), tables (one Parquet file each)."""

    rows: list[Row] = field(default_factory=list)
    tensors: "dict[str, torch.Tensor]" = field(default_factory=dict)
    tables: "dict[str, pa.Table]" = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """Where and with what a trial runs; none of it may change a number, so it is in no key.

    device: "auto", "cpu" or "cuda[:i]". threads: CPU threads a trial may use.
    include: the user's files with methods of their own; `run` turns paths into texts, which reach machines that have
    no such file. files: (sha256 of its content, absolute path) of each file that trials name by its hash, such as a
    checkpoint. decoded: sha256 of the decoded data set in the store, for machines that have no files of it. gpus:
    (stage, GPUs that its trials hold), see `resources`. share: of a GPU that the trial at hand holds, and of its
    memory; more than 1 are whole GPUs. keep_every_s: seconds after which a training keeps its state at the end of an
    epoch. driver: whose leases the trial is computed under, see `leases`. again: compute it though the store has it.
    """

    results: str
    data_root: str | None = None
    device: str = "auto"
    threads: int = 1
    include: tuple[str | Source, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    decoded: str = ""
    gpus: tuple[tuple[str, float], ...] = ()
    share: float = 1.0
    keep_every_s: float = EVERY_S
    driver: str = ""
    again: bool = False


class Reader(Keeper, Protocol):
    """The part of the store that a trial may use."""

    def trial(self, key: str) -> Trial: ...
    def tensors(self, key: str) -> "dict[str, torch.Tensor]": ...
    def table(self, key: str, name: str) -> "pa.Table": ...
    def get_blob(self, sha256: str, target: Path) -> None: ...


def generator(key: str, purpose: str) -> "torch.Generator":
    """A CPU generator seeded by a trial's key and a purpose."""
    import torch

    digest = hashlib.sha256(f"{key}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class Context:
    """What a stage gets: its trial, its parents' artifacts, the device and its own randomness."""

    def __init__(self, trial: Trial, store: Reader, settings: Settings) -> None:
        self.trial, self.settings, self._store = trial, settings, store

    @functools.cached_property
    def device(self) -> "torch.device":
        import torch

        return torch.device(resolved(self.settings.device))

    @functools.cached_property
    def progress(self) -> Progress:
        """Where a training keeps its state, and finds that of an earlier attempt."""
        import torch

        made_with = f"torch {torch.__version__}, {self.device.type}, {self.settings.threads} threads"
        return Progress(self._store, self.trial.key, made_with, self.settings.keep_every_s)

    def parent(self, role: str, *further: str) -> Trial:
        """The trial in this role; of its inputs the one in the next role, and so on."""
        trial = self._store.trial(self.trial.inputs[role])
        for each in further:
            trial = self._store.trial(trial.inputs[each])
        return trial

    def fetch(self, sha256: str, target: Path) -> None:
        """Copy a file that the driver sent. Raises FileNotFoundError if it sent none, OSError, ValueError."""
        self._store.get_blob(sha256, target)

    def tensors(self, role: str) -> "dict[str, torch.Tensor]":
        """The tensors that the parent in this role wrote, on the CPU."""
        return self._store.tensors(self.trial.inputs[role])

    def table(self, role: str, name: str) -> "pa.Table":
        return self._store.table(self.trial.inputs[role], name)

    def own_tensors(self) -> "dict[str, torch.Tensor]":
        """The tensors that this trial wrote, once it is finished."""
        return self._store.tensors(self.trial.key)

    def own_table(self, name: str) -> "pa.Table":
        return self._store.table(self.trial.key, name)

    def generator(self, purpose: str) -> "torch.Generator":
        """A CPU generator that depends on the trial's key and the purpose, and on nothing else."""
        return generator(self.trial.key, purpose)


class Stage(Spec):
    """A step of the benchmark. `run` is pure: context in, outcome out.

    TORCH: whether it computes with torch. Where it does not, its worker need not load it.
    """

    TORCH: ClassVar[bool] = True

    @abstractmethod
    def run(self, context: Context) -> Outcome:
        """All that the trial computes. Raises whatever keeps it from being a result."""

    def rederived(self, context: Context) -> list[Row]:
        """Of a finished trial's rows those that follow from raw output in the store: no data, no model's pass."""
        return []


def execute(trial: Trial, store: Reader, settings: Settings) -> Outcome:
    """Run one trial in this process, with the declared number of threads.

    Raises whatever the stage raises; executors record it.
    """
    for file in settings.include:
        include.load(file)
    stage = registry.parse("stage", dict(trial.stage))
    assert isinstance(stage, Stage)
    if stage.TORCH:
        import torch

        torch.set_num_threads(settings.threads)
        keep_freed_memory()
    return stage.run(Context(trial, store, settings))
