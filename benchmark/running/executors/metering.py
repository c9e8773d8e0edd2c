"""Measures how busy a trial's GPU was and how much memory it took, beside the trial; empty where that is unknown."""

import contextlib
import functools
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

_PERIOD_S = 1.0
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Usage:
    """What was measured, as columns of `schema.PROVENANCE`. None: not measured.

    gpu_utilisation: mean share of the time, in [0, 1], in which the GPU computed, whoever let it.
    gpu_memory_bytes: most of the GPU's memory that was in use, by whomever. host_memory_bytes: most that this
    process held of the machine's.
    """

    gpu_utilisation: float | None = None
    gpu_memory_bytes: int | None = None
    host_memory_bytes: int | None = None

    def columns(self) -> dict[str, float | int | None]:
        return asdict(self)


class Meter:
    """Measures while it is open. Use as a context manager around a trial; `usage` is its result, also before the end.

    device: "cpu" or "cuda[:i]". NVML is asked for GPUs only.
    """

    def __init__(self, device: str) -> None:
        self._gpu = None if device == "cpu" else _gpu(device)
        self._busy: list[float] = []
        self._memory: list[int] = []
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._host_known = False

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            _RESET.write_text("5")  # Linux begins to look for the peak anew
            self._host_known = True
        if self._gpu is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True, name="bench-meter")
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def usage(self) -> Usage:
        return Usage(
            gpu_utilisation=sum(self._busy) / len(self._busy) if self._busy else None,
            gpu_memory_bytes=max(self._memory, default=None),
            host_memory_bytes=_peak_of_process() if self._host_known else None,
        )

    def _watch(self) -> None:
        nvml, handle = self._gpu or (None, None)
        assert nvml is not None
        while True:
            ended = self._ended.wait(_PERIOD_S)
            with contextlib.suppress(nvml.NVMLError):  # a slice of a GPU has memory, but no utilisation
                self._memory.append(int(nvml.nvmlDeviceGetMemoryInfo(handle).used))
                self._busy.append(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
            if ended:
                return


@functools.cache
def _nvml() -> Any:
    """The started library, or None; asked once a process, since a failed start costs time."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        return None
    except pynvml.NVMLError:  # no driver, or one that does not answer
        return None
    return pynvml


@functools.cache
def _gpu(device: str) -> tuple[Any, Any] | None:
    """NVML and its handle of a device of torch; None where it is not found.

    NVML counts every GPU of the machine in the order of the bus; CUDA only those that CUDA_VISIBLE_DEVICES names, in an
    order of its own. So the device is looked up by what torch knows of it, else by that variable.
    """
    nvml = _nvml()
    if nvml is None:
        return None
    import torch

    index = torch.device(device).index or 0
    try:
        uuid = getattr(torch.cuda.get_device_properties(index), "uuid", None)
        if uuid is not None:
            return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        name = visible[index] if visible else str(index)
        by_index, by_uuid = nvml.nvmlDeviceGetHandleByIndex, nvml.nvmlDeviceGetHandleByUUID
        return nvml, by_index(int(name)) if name.isdigit() else by_uuid(name)
    except (nvml.NVMLError, RuntimeError, AssertionError, IndexError):
        return None


def _peak_of_process() -> int | None:
    """Bytes that this process held at the most since the peak was forgotten."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None
