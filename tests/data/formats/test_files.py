"""Downloads: nothing without leave, all or nothing, and no waiting for a host that does not answer."""

import contextlib
import hashlib
import http.server
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import command
import pytest
from data.test_published_sets import write_cifar10
from torchvision import datasets

from benchmark import registry
from benchmark.data import fashion_mnist
from benchmark.data.cifar import CIFAR10
from benchmark.data.formats import files
from benchmark.data.formats.files import Files, cache_folder, locate
from benchmark.models.classifier import InputInfo
from benchmark.planning.costs import Sizes
from benchmark.planning.plan import build_plan
from benchmark.planning.suite import parse_suite


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_unreachable", lambda urls: "")


def wanted(fetch: object) -> Files:
    urls = ["http://toys.example/a"]
    return Files("toys", ("a", "b"), ("toys", ""), "ask a friend", fetch=fetch, urls=lambda: urls)  # type: ignore[arg-type]


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

    with pytest.raises(ValueError, match="toys: no folder holds a, b; looked in"):
        locate(wanted(never), tmp_path)


@contextlib.contextmanager
def silent_host(backlog: int) -> Iterator[int]:
    """A port of this machine whose connections nobody accepts; with a backlog of 0 its queue is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(backlog)
        port = listening.getsockname()[1]
        with contextlib.ExitStack() as stack:
            for _ in range(3 if backlog == 0 else 0):
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


@pytest.mark.parametrize("backlog", [0, 8])
def test_a_host_that_does_not_answer_costs_the_stated_time(monkeypatch: pytest.MonkeyPatch, backlog: int) -> None:
    """It lets nobody in, or lets everybody in and then says nothing."""
    monkeypatch.setattr(files, "_PROBE_S", 0.5)
    with silent_host(backlog) as port:
        start = time.perf_counter()
        assert files._unreachable([f"http://127.0.0.1:{port}/a"])
        assert time.perf_counter() - start < 2


def test_one_mirror_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    with silent_host(8) as silent, server({}) as port:
        urls = [f"http://127.0.0.1:{silent}/a", "http://127.0.0.1:1/a", f"http://127.0.0.1:{port}/not-there"]
        start = time.perf_counter()
        assert files._unreachable(urls) == ""
        assert time.perf_counter() - start < 2
    assert "refused" in files._unreachable(["http://127.0.0.1:1/a"])


@contextlib.contextmanager
def server(content: dict[str, bytes]) -> Iterator[int]:
    """A web server of this machine that has these files."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200 if self.path in content else 404)
            self.send_header("Content-Length", str(len(content.get(self.path, b""))))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(content.get(self.path, b""))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_address[1]
        running.shutdown()
        thread.join()


def published_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small CIFAR-10 in its archive, which torchvision takes for the real one."""
    name = "cifar-10-batches-py"
    write_cifar10(folder / name)
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (folder / name).iterdir()}
    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
    with tarfile.open(folder / "all.tar.gz", "w:gz") as archive:
        archive.add(folder / name, name)
    content = (folder / "all.tar.gz").read_bytes()
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", hashlib.md5(content).hexdigest())
    return content


def test_torchvisions_own_download_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    content = published_cifar10(tmp_path / "published", monkeypatch)
    root = tmp_path / "root"
    with server({"/c.tar.gz": content}) as port:
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{port}/c.tar.gz")
        data = CIFAR10(download=True).load(root)
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]
    assert CIFAR10().load(root).fingerprint == data.fingerprint
    assert capfd.readouterr() == ("", "")


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = published_cifar10(tmp_path / "published", monkeypatch)
    root = tmp_path / "root"
    with server({"/c.tar.gz": content[: len(content) // 2]}) as port:
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{port}/c.tar.gz")
        with pytest.raises(
            ValueError, match=r"download from 127.0.0.1:\d+ into .* failed .File not found or corrupted"
        ):
            CIFAR10(download=True).load(root)
    assert list(root.iterdir()) == []


def test_half_of_a_folder_is_completed(tmp_path: Path) -> None:
    (tmp_path / "new" / "sub").mkdir(parents=True)
    (tmp_path / "old" / "sub").mkdir(parents=True)
    for place, text in (("new/sub/a", "new"), ("new/sub/b", "new"), ("old/sub/a", "half"), ("old/mine", "mine")):
        (tmp_path / place).write_text(text)
    files._move(tmp_path / "new", tmp_path / "old")
    texts = {str(p.relative_to(tmp_path / "old")): p.read_text() for p in (tmp_path / "old").rglob("*") if p.is_file()}
    assert texts == {"sub/a": "new", "sub/b": "new", "mine": "mine"}


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "svhn", "olivetti", "lfw"])
def test_the_addresses_are_those_of_the_library(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(files, "_unreachable", lambda urls: asked.extend(urls) or "no")
    data_set = registry.parse("data", {"method": name, "download": True})
    with pytest.raises(ValueError, match=f"^{name}: no folder holds .* cannot be reached .no.; get"):
        data_set.load(tmp_path)
    assert asked and all(url.startswith("http") for url in asked)


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


def test_the_command_ends_in_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_unreachable", lambda urls: "the line is dead")
    suite = command.write(tmp_path, command.tiny(("data", {"method": "cifar10", "download": True})))
    places = ("--data-root", tmp_path / "root", "--results", tmp_path / "results")
    said = command.refusal(command.call("run", suite, *places))
    assert said.startswith("cifar10: no folder holds data_batch_1,")
    assert "www.cs.toronto.edu cannot be reached (the line is dead); get them with" in said
    assert [path.name for path in tmp_path.iterdir()] == ["suite.yaml"]
