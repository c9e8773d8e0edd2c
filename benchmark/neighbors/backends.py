"""Which engine proposes neighbors, and on which device: faiss on a GPU, torch on a GPU, faiss on the CPU."""

import functools
from dataclasses import dataclass

import torch

from benchmark.machine.devices import resolved
from benchmark.neighbors import with_faiss, with_torch


@dataclass(frozen=True)
class Backend:
    """by_faiss: it proposes candidates; else torch does. device: where that happens. line: this and why, for users.

    scores: where torch scores candidates; None for the CPU as faiss leaves them.
    """

    by_faiss: bool
    device: torch.device
    scores: torch.device | None
    line: str


def backend() -> str:
    """What searches here and why, in a line for `bench doctor`."""
    return chosen("auto").line


def chosen(device: torch.device | str) -> Backend:
    """Of what works here. device: "auto", "cpu" or "cuda[:i]"; see `cosine_knn`."""
    cpu, where = torch.device("cpu"), torch.device(device if device != "auto" else resolved("auto"))
    faiss = with_faiss.version()
    named = "faiss cannot be imported" if faiss is None else f"faiss {faiss}"
    on_cpu = str(device) == "cpu"
    failure = "" if where.type == "cpu" else failure_on(where)
    if not on_cpu and with_faiss.gpu_works():
        gpu = where if where.type == "cuda" else torch.device("cuda")
        scores = gpu if where.type == "cuda" and not failure else None
        return Backend(True, gpu, scores, f"{named} on {with_faiss.num_gpus()} GPU(s)")
    why = "asked for" if on_cpu else _why_not_faiss(faiss)
    if where.type == "cuda" and not failure:
        return Backend(False, where, where, f"torch {torch.__version__} on the GPU ({why})")
    if not on_cpu:
        why += f"; torch's search there failed: {failure}" if failure else "; torch sees no GPU"
    if faiss is None:
        return Backend(False, cpu, cpu, f"torch {torch.__version__} on the CPU ({why})")
    return Backend(True, cpu, None, f"{named} on the CPU ({why})")


def _why_not_faiss(version: str | None) -> str:
    """Why it does not search on a GPU."""
    if version is None:
        return "faiss cannot be imported"
    if with_faiss.num_gpus() > 0:
        return f"the GPU search of faiss {version} failed its smoke test"
    return f"faiss {version} sees no GPU"


@functools.cache
def failure_on(device: torch.device) -> str:
    """Why torch cannot search on `device`, in a line; empty where a small search comes out right."""
    rows = torch.eye(64)
    try:
        _, ids = with_torch.knn(rows, rows, 1, device)
    except (RuntimeError, AssertionError) as error:  # torch raises both for a device that is not there
        return (str(error).splitlines() or [type(error).__name__])[0]
    return "" if ids[:, 0].tolist() == list(range(64)) else "wrong neighbors"
