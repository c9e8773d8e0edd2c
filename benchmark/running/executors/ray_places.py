"""Records which machine of a cluster runs a trial, so that its trials are known when the machine is lost.

A machine whose cable is pulled closes no connection. Ray gives it up in seconds, and yet its driver waits for the
trials that are there until it is back, or for seven minutes. So the executor looks who was there. (Pings of the
driver's gRPC would find it too, but Ray's workers allow few of them: they ended every trial of more than ten seconds.)
"""

import contextlib
from collections.abc import Iterator

_NAMESPACE = b"robust-or-private"


@contextlib.contextmanager
def here(name: str) -> Iterator[None]:
    """In a worker: records that the attempt called `name` runs on this node, for as long as this block lasts."""
    import ray
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(name.encode(), ray.get_runtime_context().get_node_id().encode(), namespace=_NAMESPACE)
    try:
        yield
    finally:
        forget(name)


def where(name: str) -> str:
    """The node that runs the attempt called `name`; "" if it has not begun, or has ended."""
    from ray.experimental.internal_kv import _internal_kv_get

    found = _internal_kv_get(name.encode(), namespace=_NAMESPACE)
    return found.decode() if found else ""


def forget(name: str) -> None:
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(name.encode(), namespace=_NAMESPACE)
