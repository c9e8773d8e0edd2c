"""These networks are too small to share among threads, and sums depend on their number."""

import command
import pytest
import torch
from finished import Finished

from benchmark.results.store import Store

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def finished(tiny_run: command.Run) -> Finished:
    return Finished(Store(tiny_run.results))
