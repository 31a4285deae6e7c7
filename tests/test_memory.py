"""Freed memory that stays with the process, in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from nn_graphs.memory import keep_freed_memory
def faults():
    torch.ones(20_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed_memory(), min(faults() for _ in range(6)))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc can")
def test_a_second_tensor_needs_no_new_pages():
    run = [sys.executable, "-c", SCRIPT]
    output = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    before, is_kept, after = output.split()
    if is_kept == "False":
        pytest.skip("another C library")
    assert int(before) > 30  # pages of 4 kB, or of 2 MB
    assert int(after) < int(before) / 10
