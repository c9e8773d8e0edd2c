"""Downloads: nothing without leave, all or nothing, and no waiting for a host that does not answer."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.costs import Sizes
from benchmark.data import files
from benchmark.data.cifar import CIFAR10
from benchmark.data.files import Files, cache_folder, locate
from benchmark.models.classifier import InputInfo
from benchmark.plan import build_plan
from benchmark.suite import parse_suite


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_unreachable", lambda host: "")


def wanted(fetch: object) -> Files:
    return Files("toys", ("a", "b"), ("toys", ""), "ask a friend", fetch=fetch, host="toys.example")  # type: ignore[arg-type]


def fetch_both(folder: Path) -> None:
    (folder / "toys").mkdir()
    for name in ("a", "b"):
        (folder / "toys" / name).write_text(name)


@pytest.mark.usefixtures("reachable")
def test_a_download_goes_to_the_root_and_is_found_again(tmp_path: Path) -> None:
    assert [p.read_text() for p in locate(wanted(fetch_both), tmp_path, download=True)] == ["a", "b"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["toys"]  # nothing half-way is left behind
    assert locate(wanted(None), tmp_path)[0] == tmp_path / "toys" / "a"


@pytest.mark.usefixtures("reachable")
def test_without_a_root_it_goes_to_the_cache() -> None:
    assert locate(wanted(fetch_both), None, download=True)[0] == cache_folder() / "toys" / "a"


@pytest.mark.usefixtures("reachable")
def test_half_a_download_is_no_data(tmp_path: Path) -> None:
    def breaks(folder: Path) -> None:
        (folder / "toys").mkdir()
        (folder / "toys" / "a").write_text("half")
        raise ConnectionResetError("the line is dead")

    with pytest.raises(ValueError, match="download from toys.example into .* failed .the line is dead.; ask a friend"):
        locate(wanted(breaks), tmp_path, download=True)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_fetched_unasked(tmp_path: Path) -> None:
    def never(folder: Path) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="toys: no folder holds a, b .plain or .gz.; looked in"):
        locate(wanted(never), tmp_path)


@contextlib.contextmanager
def silent_host() -> Iterator[int]:
    """A port of this machine whose connections nobody accepts: the queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.connect(("127.0.0.1", port))
            yield port


def test_a_name_server_that_hangs_costs_the_stated_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def hang(*_: object, **__: object) -> None:
        over.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", hang)
    monkeypatch.setattr(files, "_PROBE_S", 0.3)
    start = time.perf_counter()
    with pytest.raises(ValueError, match="www.cs.toronto.edu cannot be reached .no answer in 0 s.; get them with"):
        CIFAR10(download=True).load(tmp_path)
    assert time.perf_counter() - start < 2
    over.set()


def test_a_host_that_accepts_nobody_costs_the_stated_time(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.create_connection
    monkeypatch.setattr(files, "_PROBE_S", 0.5)
    with silent_host() as port:
        monkeypatch.setattr(socket, "create_connection", lambda _, timeout: connect(("127.0.0.1", port), timeout))
        start = time.perf_counter()
        assert files._unreachable("host.example")
        assert time.perf_counter() - start < 2


def test_the_probe_leaves_room_for_the_promise_of_15_seconds() -> None:
    assert files._PROBE_S <= 10


def test_downloading_is_no_part_of_a_trials_identity() -> None:
    assert "download" not in registry.dump("data", CIFAR10(download=True))
    recipe = {"architecture": "small_vgg", "regime": "standard"}
    suite = {
        "name": "s",
        "models": [{"name": "m", **recipe}],
        "evaluators": {"standard": recipe, "robust": recipe},
        "evasion": [{"method": "fgsm", "epsilon": 0.1}],
        "inversion": ["gradient"],
        "membership": ["loss_threshold"],
    }
    sizes = Sizes(InputInfo(3, 32, 32, 10, (0.5,) * 3, (0.2,) * 3), 10, 20, 10, 10)
    keys = [
        [node.key for node in build_plan(parse_suite({**suite, "data": data}), "0" * 64, sizes).nodes]
        for data in ("cifar10", {"method": "cifar10", "download": True})
    ]
    assert keys[0] == keys[1]
