"""From a checked suite to a run: what its trials are computed with, and the record of its plan."""

from typing import TYPE_CHECKING

from benchmark.planning.gpu_shares import gpu_shares
from benchmark.results.older_versions import older
from benchmark.results.store import Store
from benchmark.running.send_data import send
from benchmark.trials.trial import Settings

if TYPE_CHECKING:
    from benchmark.planning.check import Prepared


def begin(
    prepared: "Prepared",
    store: Store,
    results: str,
    *,
    data_root: str | None = None,
    device: str = "auto",
    include: tuple[str, ...] = (),
    gpus_per_trial: float | None = None,
    joined: bool = False,
) -> Settings:
    """Write the plan into the store, with what workers elsewhere need; returns what trials run with.

    results: folder or URL of the store. joined: the workers are on other machines. Raises SpecError, OSError.
    """
    data_set, images = prepared.data(data_root)
    settings = Settings(
        results=results,
        data_root=data_root,
        device=device,
        threads=prepared.suite.threads,
        include=include,
        files=prepared.files,
        decoded=send(store, data_set, images, prepared.files, joined=joined),
        gpus=gpu_shares(prepared.suite.resources, gpus_per_trial),
    )
    before = older(prepared.plan, store.last_plan(prepared.suite.name), store.has)
    store.write_plan(prepared.plan, {**prepared.about, "older": before})
    return settings
