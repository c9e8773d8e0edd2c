"""Freed memory stays with the process: the next step touches no new pages."""

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from benchmark.machine.freed_memory import keep_freed_memory

if sys.argv[1] == "kept":
    assert keep_freed_memory()

def step():
    return [torch.ones(n, 1 << 18) for n in (3, 5, 7, 11, 13)]  # 3 to 13 MiB, all freed together

for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(mode: str) -> int:
    found = subprocess.run([sys.executable, "-c", STEPS, mode], capture_output=True, text=True, check=True, env=ENV)
    return int(found.stdout)


# What glibc begins with; set, it stays, where it would otherwise grow with what happens to be freed.
ENV = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's mallopt is tested; this is another C library")
def test_steps_of_equal_size_touch_no_new_pages() -> None:
    # Not none: once in a while the heap grows by one of the pieces, where they came to lie otherwise.
    assert 10 * page_faults("kept") < page_faults("given back")
