"""A worker of a machine that shares nothing with the driver but the store: `machine.py PICKLE LOG`.

Runs the trials of the pickle, one after the other, and notes in LOG what it fetched and which folders it decoded.
"""

import pickle
import sys
from pathlib import Path
from typing import Any

from benchmark.data.imagefolder import ImageFolder
from benchmark.data.images import ImageData
from benchmark.results.store import Store
from benchmark.running.executors.worker import run_trial


def main(given: str, log: str) -> None:
    fetch, read = Store.get_blob, ImageFolder.load

    def note(text: str) -> None:
        with Path(log).open("a") as file:
            file.write(f"{text}\n")

    def fetched(self: Store, sha256: str, target: Path) -> None:
        fetch(self, sha256, target)
        note(sha256)

    def decoded(self: ImageFolder, *arguments: Any) -> ImageData:
        images = read(self, *arguments)
        note("decoded")
        return images

    Store.get_blob = fetched  # type: ignore[method-assign]
    ImageFolder.load = decoded  # type: ignore[method-assign]
    trials, settings = pickle.loads(Path(given).read_bytes())
    for trial in trials:
        finished = run_trial(trial, settings)
        if not finished.ok:
            sys.exit(finished.error)


if __name__ == "__main__":
    main(*sys.argv[1:])
