"""A bucket that does not answer for a while: calls wait, say so once, and end as if nothing had been."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import toy

from benchmark.results.store import Store
from benchmark.running.run import run
from benchmark.running.schedule import Event
from benchmark.storage import open_storage, patience
from benchmark.storage.patience import at_once

_ANSWERS = {
    "busy": b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "many": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "forbidden": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


class Line:
    """The way to a server, which can be broken: "refused", "cut" in the middle of an answer, or one of `_ANSWERS`."""

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self._server, self.broken, self.asked = (parts.hostname or "", parts.port or 0), "", 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._listen, daemon=True).start()

    def break_for(self, seconds: float, how: str) -> None:
        def mend() -> None:
            self.broken = ""

        self.broken = how
        threading.Timer(seconds, mend).start()

    def close(self) -> None:
        self._listener.close()

    def _listen(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        """One request: the server is asked to close behind it."""
        with near:
            self.asked += 1
            head, how = b"", self.broken
            while how != "refused" and b"\r\n\r\n" not in head:
                if not (chunk := near.recv(2**16)):
                    return
                head += chunk
            if how == "refused":
                return
            if how in _ANSWERS:
                near.sendall(_ANSWERS[how])
                return
            with socket.create_connection(self._server) as far:
                far.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
                threading.Thread(target=_copy, args=(near, far), daemon=True).start()
                answer = b""
                while chunk := far.recv(2**16):
                    answer += chunk
                near.sendall(answer[:-2] if how == "cut" else answer)
                near.shutdown(socket.SHUT_RDWR)  # `_copy` still reads from it


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(2**16):
            target.sendall(chunk)
    except OSError:
        return


@pytest.fixture
def line(s3_url: str, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line(s3_endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL", line.url)
    monkeypatch.setattr(patience, "_FIRST_S", 0.05)
    yield line
    line.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "what"), [("refused", "write"), ("busy", "read"), ("many", "tree"), ("cut", "read"), ("cut", "create")]
)
def test_calls_wait_until_it_answers_again(
    s3_url: str, line: Line, caplog: pytest.LogCaptureFixture, how: str, what: str
) -> None:
    storage = open_storage(s3_url)
    storage.prepare()
    storage.write("plans/a.json", b"one, and a second")
    line.break_for(1.0, how)
    if what == "write":
        storage.write("plans/a.json", b"one, and a second")
    elif what == "create":
        storage.create("plans/b.json", b"it may have been there before anybody heard of it")
    elif what == "tree":
        assert list(storage.tree("plans", 2)) == ["a.json"]
    assert not line.broken or what == "read"
    assert storage.read("plans/a.json") == b"one, and a second"
    assert sorted(storage.tree("plans", 1)) == ["a.json", "b.json"][: 1 + (what == "create")]
    said = [record.message for record in caplog.records if record.name == patience.__name__]
    assert len(said) == 2 and said[1] == "bench: the store answers again"
    assert said[0].startswith("bench: the store does not answer (Generic S3 error: ")
    assert said[0].endswith("): trying again for up to 5 min")


@pytest.mark.slow
def test_a_run_outlives_an_outage(s3_url: str, line: Line) -> None:
    store, plan = Store(s3_url), toy.diamonds(2)

    def cut(event: Event) -> None:
        if event.kind == "finished" and event.num_done == 2:
            line.break_for(1.0, "refused")

    report = run(plan, store, toy.Inline, toy.settings(store), on_event=cut)
    assert (report.num_executed, report.num_failed, report.num_skipped) == (report.num_total, 0, 0)


def test_what_will_not_pass_is_said_at_once(s3_url: str, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage(s3_url)
    for how, calls in (("forbidden", 1), ("refused", 3)):  # three: the client's own two more
        line.broken, line.asked = how, 0
        with pytest.raises(ValueError, match=r"cannot be written \(.*\); allowed: an existing bucket"):
            storage.prepare()
        with pytest.raises(OSError, match="403 Forbidden|error sending request"), at_once():
            storage.read("plans/a.json")
        assert line.asked <= 2 * calls + 1
    monkeypatch.setattr(patience, "FOR_S", 0.3)
    begin = time.monotonic()
    with pytest.raises(OSError, match="error sending request"):
        storage.write("plans/a.json", b"never")
    assert 0.3 < time.monotonic() - begin < 10


def test_a_probe_is_not_left(s3_url: str) -> None:
    import obstore
    from obstore.store import S3Store

    for _ in range(2):
        open_storage(s3_url).prepare()
    whole = S3Store.from_url(s3_url, config={"region": "us-east-1"}, client_options={"allow_http": True})
    assert [meta["path"] for chunk in obstore.list(whole) for meta in chunk] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", "http://"),
        ("https_proxy", "http://host:port"),
        ("ALL_PROXY", "a b"),
        ("HTTP_PROXY", "://"),
        ("AWS_ENDPOINT_URL", "http://[::1"),
        ("AWS_ENDPOINT_URL", "http://h:99999"),
        ("AWS_PROXY_URL", "http://h\n:1"),
        ("AWS_ENDPOINT_URL", "nonsense of mine"),
    ],
)
def test_a_variable_that_is_no_address(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as error:
        open_storage(f"s3://bench/{uuid.uuid4().hex}").prepare()
    assert (
        str(error.value) == f"results: {name}={value!r} is no address; allowed: http://HOST:PORT, or no such variable"
    )


def test_a_proxy_that_is_nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in [key for key in os.environ if key.startswith("AWS_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HTTPS_PROXY", "127.0.0.1:1")
    with pytest.raises(ValueError, match="and HTTPS_PROXY='127.0.0.1:1'$"):
        open_storage(f"s3://bench/{uuid.uuid4().hex}").prepare()


def test_of_many_threads_one_speaks(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_S", 0.01)
    tries = threading.local()

    def call() -> int:
        tries.number = getattr(tries, "number", 0) + 1
        if tries.number < 3:
            raise TimeoutError("no answer")
        return 1

    with caplog.at_level(logging.WARNING):
        threads = [threading.Thread(target=patience.persist, args=(call, str)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    said = [record.message for record in caplog.records]
    assert said[0] == "bench: the store does not answer (no answer): trying again for up to 5 min"
    assert said[-1] == "bench: the store answers again"


def test_an_error_that_means_something_is_not_met_twice() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise KeyError("a")

    with pytest.raises(KeyError):
        patience.persist(call, lambda error: "")
    assert len(calls) == 1
