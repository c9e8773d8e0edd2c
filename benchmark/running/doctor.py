"""`bench doctor`: what a run on this machine would use, and why."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmark import registry
from benchmark.machine.devices import num_gpus
from benchmark.machine.durable_files import existing
from benchmark.storage import is_url, open_storage


def findings(results: str, data_root: str | None) -> Iterator[tuple[str, str]]:
    """What was found out, as pairs such as ("device", "cpu: ..."), a line each."""
    import torch

    from benchmark import neighbors
    from benchmark.running.executors.local import num_slots
    from benchmark.trials.trial import Settings

    yield "python", f"{sys.version.split()[0]} at {sys.executable}"
    yield "bench", _version()
    if num_gpus():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(num_gpus()))
        yield "device", f"cuda: {names} (torch {torch.__version__})"
    else:
        yield "device", f"cpu: torch {torch.__version__} sees no GPU"
    yield "threads", f"{os.cpu_count()} processors: {num_slots(Settings(results))} trials side by side, one thread each"
    yield "neighbors", neighbors.backend()
    yield "ray", _ray()
    yield "results", _place(results)
    yield "cache", _cache()
    for name in registry.DATA:
        yield name, _data(name, data_root)


def _cache() -> str:
    """Of decoded data sets and of files from the store."""
    from benchmark.data import cache
    from benchmark.machine.home import cache_folder

    kept = [path.stat().st_size for path in cache.held()]
    held = f"{sum(kept) / 2**20:.1f} MiB in {len(kept)} decoded or fetched files"
    return f"{held}, at most {cache.LIMIT_BYTES / 2**30:g} GiB, in {cache_folder()}"


def _place(results: str) -> str:
    """Room for results, or whether the bucket answers; writes nothing to a folder."""
    if is_url(results):
        try:
            open_storage(results).prepare()
        except ValueError as error:
            return f"no: {error}"
        return f"{results} can be written"
    folder = existing(Path(results).absolute())
    usage = shutil.disk_usage(folder)
    return f"disk with {usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} GiB at {folder}"


def _version() -> str:
    try:
        return importlib.metadata.version("robust-or-private")
    except importlib.metadata.PackageNotFoundError:
        return f"not installed: run from {Path(__file__).parents[2]}"


def _ray() -> str:
    try:
        return f"{importlib.metadata.version('ray')}: the default of `bench run`"
    except importlib.metadata.PackageNotFoundError:
        return "not installed: use `bench run --executor local`"


def _data(name: str, data_root: str | None) -> str:
    """Where it is; files are looked for and not opened, which takes a minute for some."""
    from benchmark.data import Dataset

    kind = registry.lookup("data", name)
    needed = [key for key, field in kind.model_fields.items() if field.is_required()]
    if needed:
        return f"of your own: set {' and '.join(needed)} in the suite"
    data_set = kind()
    assert isinstance(data_set, Dataset)
    try:
        found = data_set.locate(None if data_root is None else Path(data_root))
    except ValueError as error:
        return f"not found: {error}"
    return f"found: {os.path.commonpath(found)}"
