"""A run in a process of its own, to be killed: `toy_driver.py local|ray RESULTS`."""

import sys

import toy

from benchmark.results.store import Store
from benchmark.running.executors import ExecutorFactory
from benchmark.running.run import run


def factory(name: str) -> ExecutorFactory:
    if name == "ray":
        from benchmark.running.executors.ray import RayExecutor

        return lambda settings: RayExecutor(settings, slots=2)
    from benchmark.running.executors.local import LocalExecutor

    return lambda settings: LocalExecutor(settings, slots=2)


if __name__ == "__main__":
    store = Store(sys.argv[2])
    run(toy.diamonds(3, seconds=0.2), store, factory(sys.argv[1]), toy.settings(store))
