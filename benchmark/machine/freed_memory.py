"""Makes the C library keep freed memory for the next allocation, which speeds up loops of large tensors."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
_NEVER = 2**31 - 1
_LARGEST = 32 * 2**20
"""The largest mapping threshold that glibc admits on 64-bit machines."""


def keep_freed_memory() -> bool:
    """Keep what is freed for the next allocation, instead of giving it back to the kernel.

    A training or attack step frees as much memory as the next one takes. glibc returns it, and the kernel zeroes every
    page anew when it is touched again: a third of the time of a CPU step on batches of hundreds of images. Numbers do
    not change. Peak memory does not either; a process that is done with its peak keeps it.
    Returns whether the C library could be told; where it is not glibc, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl and macOS have no such function, Windows no such handle
        return False
    return bool(mallopt(_M_TRIM_THRESHOLD, _NEVER)) and bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST))
