"""Runs one trial in a worker process: leases it, computes it, writes it to the store, and reports in a few bytes."""

import contextlib
import sys
import time
import traceback
from dataclasses import replace

from benchmark.machine.devices import resolved
from benchmark.machine.durable_files import StoreFull
from benchmark.results.store import CorruptArtifact, Store
from benchmark.running.executors import REPORTED, Finished, Loss
from benchmark.running.executors.metering import Meter
from benchmark.running.leases import Leases
from benchmark.trials.provenance import provenance
from benchmark.trials.trial import Settings, Trial, execute


def run_trial(trial: Trial, settings: Settings) -> Finished:
    """Execute `trial` and commit its outcome. Never raises: what the trial raised is in the report."""
    key, begin = trial.key, time.perf_counter()
    device, leases, held = settings.device, None, False
    try:
        device = resolved(device)
        limit_memory(device, settings.share)
        store = Store(settings.results)
        leases = Leases(store.storage, settings.driver)
        if not leases.take(key):
            return Finished(key, elsewhere="running")
        held = True
        if settings.driver and not settings.again and store.has(key):  # another driver was here since ours looked
            return Finished(key, elsewhere="done")
        with Meter(device) as meter:
            outcome = execute(trial, store, replace(settings, device=device))
            synchronize(device)
        wall_s = time.perf_counter() - begin
        gpu_s, gpus = (0.0, 0.0) if device == "cpu" else (wall_s, settings.share)
        spent = {"wall_s": wall_s, "gpu_s": gpu_s, "gpus": gpus, **meter.usage().columns()}
        made = {**provenance(device, settings.threads), **spent}
        store.write(trial, outcome, made)
        store.clear_progress(key)
        reported = {name: made[name] for name in REPORTED}
        return Finished(key, wall_s, gpu_s, host=made["host"], made=reported, signature=store.signature(key))
    except StoreFull as error:
        return Finished(key, time.perf_counter() - begin, error=str(error), full=True)
    except CorruptArtifact as error:
        text = traceback.format_exc()
        return Finished(key, time.perf_counter() - begin, error=text, corrupt=error.key)
    except BaseException as error:  # a user's method may raise anything, or exit; the driver records it
        if _ray_ends_this_process(error):
            raise
        loss: Loss = "gpu_memory" if out_of_gpu_memory(error) else ""
        return Finished(key, time.perf_counter() - begin, error=traceback.format_exc(), loss=loss)
    finally:
        if leases is not None and held:
            with contextlib.suppress(OSError, StoreFull):  # it ends with its driver
                leases.release(key)
        give_memory_back(device)


def _ray_ends_this_process(error: BaseException) -> bool:
    """SystemExit comes from Ray, which raises it where a signal tells a worker to go; the trial did nothing."""
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return isinstance(error, SystemExit) and any(f.f_globals.get("__name__", "").startswith("ray.") for f in frames)


def out_of_gpu_memory(error: BaseException) -> bool:
    """CUDA has no memory left: torch says so in its own error, its libraries, and a new context, in a RuntimeError."""
    if "torch" not in sys.modules or not isinstance(error, RuntimeError):
        return False
    import torch

    said = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in said)


def limit_memory(device: str, share: float) -> None:
    """Let this process allocate no more than its share of the GPU's memory."""
    if device != "cpu":
        import torch

        index = torch.device(device).index
        where = torch.cuda.current_device() if index is None else index
        torch.cuda.set_per_process_memory_fraction(min(1.0, share), where)


def synchronize(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize(device)


def give_memory_back(device: str) -> None:
    """Free cached GPU memory, which idle workers must leave to those that share the GPU, also after a failed trial."""
    if device not in ("cpu", "auto"):
        import torch

        torch.cuda.empty_cache()
