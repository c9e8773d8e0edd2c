"""What a trial's GPU did, with a stand-in for NVML: two GPUs, which CUDA counts in another order."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmark.running.executors import metering
from benchmark.running.executors.metering import Meter, Usage

UUIDS = ["11111111-aaaa-0000-0000-000000000000", "22222222-bbbb-0000-0000-000000000000"]
MEMORY = {"GPU-" + UUIDS[0]: [100, 900, 300], "GPU-" + UUIDS[1]: [7, 7, 7]}
BUSY = {"GPU-" + UUIDS[0]: [20, 60, 100], "GPU-" + UUIDS[1]: [0, 0, 0]}


class NVMLError(Exception):
    pass


class FakeNvml:
    """As much of pynvml as is used; each sample of a GPU takes the next number of its list, then the last."""

    NVMLError = NVMLError

    def __init__(self, driver: bool = True, utilisation: bool = True) -> None:
        self.driver, self.utilisation, self.starts = driver, utilisation, 0
        self.taken = {name: 0 for name in MEMORY}

    def nvmlInit(self) -> None:
        self.starts += 1
        if not self.driver:
            raise NVMLError("Driver Not Loaded")

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:
        if name not in MEMORY:
            raise NVMLError("Not Found")
        return name

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return "GPU-" + UUIDS[index]

    def nvmlDeviceGetMemoryInfo(self, name: str) -> Any:
        return SimpleNamespace(used=MEMORY[name][min(self.taken[name], 2)])

    def nvmlDeviceGetUtilizationRates(self, name: str) -> Any:
        if not self.utilisation:
            raise NVMLError("Not Supported")
        self.taken[name] += 1
        return SimpleNamespace(gpu=BUSY[name][min(self.taken[name] - 1, 2)])


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(fake: Any, uuids: list[str] | None = None) -> Any:
        monkeypatch.setitem(sys.modules, "pynvml", fake)
        monkeypatch.setattr(metering, "_PERIOD_S", 0.02)
        known = lambda index: SimpleNamespace(**({} if uuids is None else {"uuid": uuids[index]}))  # noqa: E731
        monkeypatch.setattr(torch.cuda, "get_device_properties", known)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        metering._nvml.cache_clear()
        metering._gpu.cache_clear()
        return fake

    yield use
    metering._nvml.cache_clear()
    metering._gpu.cache_clear()


def measured(device: str, samples: int, fake: FakeNvml, name: str) -> Usage:
    with Meter(device) as meter:
        end = time.monotonic() + 10
        while fake.taken[name] < samples - 1 and time.monotonic() < end:  # the last one is taken at the end
            time.sleep(0.001)
        meter._ended.set()
    return meter.usage()


def test_mean_utilisation_and_peak_memory(nvml: Any) -> None:
    fake = nvml(FakeNvml(), UUIDS)
    usage = measured("cuda:0", 3, fake, "GPU-" + UUIDS[0])
    taken = fake.taken["GPU-" + UUIDS[0]]
    expected = sum((BUSY["GPU-" + UUIDS[0]] + [100] * 99)[:taken]) / taken / 100
    assert taken >= 2 and usage.gpu_utilisation == pytest.approx(expected)
    assert usage.gpu_memory_bytes == 900


def test_torch_knows_which_gpu_it_is(nvml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(FakeNvml(), UUIDS[::-1])  # CUDA's fastest GPU is the second on the bus
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert metering._gpu("cuda:0")[1] == "GPU-" + UUIDS[1]  # type: ignore[index]
    assert metering._gpu("cuda:1")[1] == "GPU-" + UUIDS[0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("visible", "device", "found"),
    [
        (None, "cuda", 0), (None, "cuda:1", 1), ("1", "cuda:0", 1), ("1,0", "cuda:1", 0), ("1, 0", "cuda", 1),
        ("GPU-" + UUIDS[1], "cuda:0", 1),
    ],
)  # fmt: skip
def test_without_a_uuid_the_visible_ones_are_counted(
    nvml: Any, monkeypatch: pytest.MonkeyPatch, visible: str | None, device: str, found: int
) -> None:
    nvml(FakeNvml())
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert metering._gpu(device)[1] == "GPU-" + UUIDS[found]  # type: ignore[index]


def test_a_slice_of_a_gpu_has_memory_but_no_utilisation(nvml: Any) -> None:
    nvml(FakeNvml(utilisation=False), UUIDS)
    with Meter("cuda:1") as meter:
        pass
    assert meter.usage().gpu_utilisation is None and meter.usage().gpu_memory_bytes == 7


@pytest.mark.parametrize("why", ["no driver", "no package", "no such gpu"])
def test_where_nobody_answers_nothing_is_claimed(nvml: Any, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    fake = nvml(FakeNvml(driver=why != "no driver"), ["33333333-0000"] if why == "no such gpu" else UUIDS)
    if why == "no package":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    for _ in range(3):
        with Meter("cuda:0") as meter:
            assert meter._thread is None
        assert (meter.usage().gpu_utilisation, meter.usage().gpu_memory_bytes) == (None, None)
    assert fake.starts == (0 if why == "no package" else 1)  # once a process


def test_on_a_processor_nvml_is_not_asked(nvml: Any) -> None:
    fake = nvml(FakeNvml(), UUIDS)
    with Meter("cpu") as meter:
        held = bytearray(200 * 2**20)  # zeros that are not touched need no memory ...
        held[:: 2**12] = b"x" * len(held[:: 2**12])  # ... these do
        del held
    usage = meter.usage()
    assert fake.starts == 0 and usage.gpu_memory_bytes is None
    with Meter("cpu") as after:
        pass
    peak, later = usage.host_memory_bytes, after.usage().host_memory_bytes
    if peak is not None and later is not None:  # Linux only
        assert peak - later > 100 * 2**20  # of this trial, not of the process
