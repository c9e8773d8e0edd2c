"""Processes that write to a storage; apart from the tests, so that they need not load torch."""

import hashlib
import os
import signal

from benchmark.storage import MARK, open_storage

ROUNDS = 10


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def contend(place: str, what: str, who: int) -> list[bool]:
    """Try to be the one who creates, or replaces, each of several files."""
    storage = open_storage(place)
    if what == "create":
        return [storage.create(f"leases/{i}.json", f"{who}".encode()) for i in range(ROUNDS)]
    won = []
    for i in range(ROUNDS):
        storage.create(f"leases/{i}.json", b"old")
        content, seen = storage.look(f"leases/{i}.json")
        won.append(content == b"old" and storage.swap(f"leases/{i}.json", f"{who}".encode(), seen))
    return won


def killed_before_the_mark(place: str) -> None:
    """Write a trial, and be killed when its mark is all that is missing."""
    from store_writers import MADE, ROW, TABLE, trial

    from benchmark.results.store import Store
    from benchmark.storage import bucket, folder
    from benchmark.trials.trial import Outcome

    def dying(write):  # type: ignore[no-untyped-def]
        def call(*args):  # type: ignore[no-untyped-def]
            if str(args[-2]).endswith(MARK):
                os.kill(os.getpid(), signal.SIGKILL)
            write(*args)

        return call

    folder.write_new = dying(folder.write_new)
    bucket.Bucket.write = dying(bucket.Bucket.write)  # type: ignore[method-assign]
    Store(place).write(trial(), Outcome([ROW] * 3, tables={"scores": TABLE, "curve": TABLE}), {**MADE, "wall_s": 77.0})


def write_often(place: str, who: int) -> None:
    """Write the trial 15 times with `who` + 1 rows, each with a `wall_s` between `who` and `who` + 1."""
    from store_writers import MADE, ROW, TABLE, trial

    from benchmark.results.store import Store
    from benchmark.trials.trial import Outcome

    for i in range(15):
        outcome = Outcome(rows=[ROW] * (who + 1), tables={"scores": TABLE})
        Store(place).write(trial(), outcome, {**MADE, "wall_s": who + i / 100})
