import command
import pytest
from finished import Finished

from benchmark.results.store import Store


@pytest.fixture(scope="session")
def finished(tiny_run: command.Run) -> Finished:
    return Finished(Store(tiny_run.results))
