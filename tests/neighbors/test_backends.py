"""Which engine searches, by what is there: pretended, as there is no GPU for tests."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from benchmark.neighbors import backend, backends, cosine_knn, search, with_faiss, with_torch
from benchmark.neighbors.backends import chosen

CPU = torch.device("cpu")
Pretend = Callable[..., None]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Let a machine have this faiss, and GPUs that faiss and torch see, and where their searches work."""

    def there(faiss: str | None, faiss_gpus: int, faiss_works: bool, torch_gpus: int, torch_fails: str = "") -> None:
        monkeypatch.setattr(with_faiss, "version", lambda: faiss)
        monkeypatch.setattr(with_faiss, "num_gpus", lambda: faiss_gpus)
        monkeypatch.setattr(with_faiss, "gpu_works", lambda: faiss_works)
        monkeypatch.setattr(backends, "resolved", lambda _: "cuda" if torch_gpus else "cpu")
        monkeypatch.setattr(backends, "failure_on", lambda _: torch_fails)

    return there


TORCH = re.escape(f"torch {torch.__version__}")


@pytest.mark.parametrize(
    ("machine", "by_faiss", "device", "scores", "line"),
    [
        (("1.15", 2, True, 2), True, "cuda", "cuda", r"faiss 1\.15 on 2 GPU\(s\)"),
        (("1.15", 1, True, 0), True, "cuda", None, r"faiss 1\.15 on 1 GPU\(s\)"),
        (("1.15", 1, True, 1, "no kernel"), True, "cuda", None, r"faiss 1\.15 on 1 GPU\(s\)"),
        (("1.15", 0, False, 1), False, "cuda", "cuda", TORCH + r" on the GPU \(faiss 1\.15 sees no GPU\)"),
        (("1.15", 1, False, 1), False, "cuda", "cuda",
         TORCH + r" on the GPU \(the GPU search of faiss 1\.15 failed its smoke test\)"),
        ((None, 0, False, 1), False, "cuda", "cuda", TORCH + r" on the GPU \(faiss cannot be imported\)"),
        (("1.15", 0, False, 1, "no kernel"), True, "cpu", None,
         r"faiss 1\.15 on the CPU \(faiss 1\.15 sees no GPU; torch's search there failed: no kernel\)"),
        (("1.15", 0, False, 0), True, "cpu", None,
         r"faiss 1\.15 on the CPU \(faiss 1\.15 sees no GPU; torch sees no GPU\)"),
        ((None, 0, False, 0), False, "cpu", "cpu",
         TORCH + r" on the CPU \(faiss cannot be imported; torch sees no GPU\)"),
    ],
)  # fmt: skip
def test_faiss_on_a_gpu_then_torch_on_a_gpu_then_the_cpu(
    pretend: Pretend, machine: tuple[object, ...], by_faiss: bool, device: str, scores: str | None, line: str
) -> None:
    pretend(*machine)
    found = chosen("auto")
    assert re.fullmatch(line, found.line) and backend() == found.line
    assert (found.by_faiss, found.device.type) == (by_faiss, device)
    assert (found.scores and found.scores.type) == scores


@pytest.mark.parametrize("faiss", ["1.15", None])
def test_who_asks_for_the_cpu_gets_it(pretend: Pretend, faiss: str | None) -> None:
    pretend(faiss, 2, True, 2)
    for name in ("cpu", CPU):
        found = chosen(name)
        assert found.device == CPU and found.by_faiss == (faiss is not None)
        assert found.line.endswith("on the CPU (asked for)")


def test_a_trial_on_a_second_gpu_searches_there(pretend: Pretend) -> None:
    pretend("1.15", 0, False, 2)
    assert chosen(torch.device("cuda:1")).scores == torch.device("cuda:1")


def test_a_device_that_is_not_there_is_passed_over_with_the_reason() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert backends.failure_on(CPU) == ""
    assert re.search(r"CUDA|NVIDIA", backends.failure_on(torch.device("cuda")))
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cosine_knn(x, x, 3, "cuda")[1], cosine_knn(x, x, 3, "cpu")[1])


def test_a_search_that_is_wrong_is_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_torch, "knn", lambda *_: (torch.ones(64, 1), torch.zeros(64, 1, dtype=torch.int64)))
    assert backends.failure_on.__wrapped__(CPU) == "wrong neighbors"


class Engines:
    """Who was asked to search: all of them do it on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, object]] = []
        faiss, knn = with_faiss.proposed, with_torch.knn

        def by_faiss(queries: Tensor, gallery: Tensor, fetch: int, gpu: int | None) -> object:
            self.asked.append(("faiss", gpu))
            return faiss(queries, gallery, fetch, None)

        def by_torch(queries: Tensor, gallery: Tensor, k: int, device: torch.device, *proposer: object) -> object:
            self.asked.append(("torch", device.type))
            return knn(queries, gallery, k, CPU, *proposer)

        monkeypatch.setattr(with_faiss, "proposed", by_faiss)
        monkeypatch.setattr(with_torch, "knn", by_torch)


@pytest.mark.parametrize(
    ("machine", "k", "asked"),
    [
        (("1.15", 1, True, 1), 5, [("torch", "cuda"), ("faiss", 0)]),  # one proposes, the other scores
        (("1.15", 1, True, 1), 40, [("torch", "cuda")]),  # more than faiss takes on a GPU
        (("1.15", 1, True, 0), 5, [("faiss", 0)]),
        (("1.15", 1, True, 0), 40, [("faiss", None)]),
        (("1.15", 0, False, 1), 5, [("torch", "cuda")]),
        (("1.15", 0, False, 0), 5, [("faiss", None)]),
        ((None, 0, False, 0), 5, [("torch", "cpu")]),
    ],
)
def test_whoever_searches_finds_the_same(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch, machine: tuple[object, ...], k: int, asked: list[object]
) -> None:
    x = torch.randn(200, 12, generator=torch.Generator().manual_seed(0))
    want = cosine_knn(x, x, k, "cpu")
    pretend(*machine)
    monkeypatch.setattr(with_faiss, "GPU_MAX_K", 50)
    engines = Engines(monkeypatch)
    got = search.cosine_knn(x, x, k)
    assert engines.asked == asked
    assert all(map(torch.equal, got, want))


@pytest.mark.slow
def test_without_faiss_torch_searches_on_the_cpu() -> None:
    """In a process that cannot import it."""
    program = """
import sys
sys.modules["faiss"] = None
import torch
from benchmark.neighbors import backend, cosine_knn
x = torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
print(backend())
print(cosine_knn(x, x, 2, "cpu")[1].tolist())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    line, ids = done.stdout.splitlines()
    assert line.startswith("torch ") and "faiss cannot be imported" in line
    x = torch.randn(90, 8, generator=torch.Generator().manual_seed(0))
    assert ids == str(cosine_knn(x, x, 2)[1].tolist())
