"""The images that a suite is about, as numpy arrays, where its data set is on this machine."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmark.rederivation.kept import Kept


class DataSet(NamedTuple):
    """pixels: (N, P) uint8 of training, then of test images. num_training: how many are training images."""

    pixels: npt.NDArray[np.uint8]
    num_training: int


def read(kept: Kept, data_root: str | None) -> DataSet | None:
    """None where the data set is not on this machine, or has other content than the suite's."""
    from benchmark import data, registry

    pools = next(iter(kept.of("pools")), None)
    if pools is None:
        return None
    try:
        found = data.planned(registry.parse("data", pools.settings["data"]), data_root, pools.settings["fingerprint"])
    except (ValueError, OSError):
        return None
    parts = [part.numpy().reshape(len(part), -1) for part in (found.images, found.test_images)]
    return DataSet(np.concatenate(parts), len(parts[0]))
