"""One trial in a worker process: run it, write it to the store, report in a few bytes."""

import time
import traceback
from dataclasses import replace

from benchmark.durable import StoreFull
from benchmark.executors import Finished
from benchmark.provenance import provenance
from benchmark.store import CorruptArtifact, Store
from benchmark.trial import Settings, Trial, execute


def run_trial(trial: Trial, settings: Settings) -> Finished:
    """Execute `trial` and commit its outcome. Never raises: what the trial raised is in the report."""
    key, begin = trial.key, time.perf_counter()
    try:
        import torch

        device = resolve_device(settings.device)
        store = Store(settings.results)
        outcome = execute(trial, store, replace(settings, device=device))
        if device != "cpu":
            torch.cuda.synchronize(device)
        wall_s = time.perf_counter() - begin
        gpu_s = 0.0 if device == "cpu" else wall_s
        made = provenance(device, settings.threads)
        store.write(trial, outcome, {**made, "wall_s": wall_s, "gpu_s": gpu_s})
        if device != "cpu":
            torch.cuda.empty_cache()  # idle workers must leave the memory to those that share the GPU
        return Finished(key, wall_s, gpu_s, host=made["host"])
    except StoreFull as error:
        return Finished(key, time.perf_counter() - begin, error=str(error), full=True)
    except CorruptArtifact as error:
        text = traceback.format_exc()
        return Finished(key, time.perf_counter() - begin, error=text, corrupt=error.key)
    except Exception:  # a user's method may raise anything; the driver records it
        return Finished(key, time.perf_counter() - begin, error=traceback.format_exc())


def resolve_device(name: str) -> str:
    """The device that "auto" stands for in this process."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
