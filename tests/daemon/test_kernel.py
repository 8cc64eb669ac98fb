"""What is asked of the kernel and the C library, seen from a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from mpio_fuse.daemon.kernel import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def use():
    kept = [bytearray(1 << 20) for _ in range(8)]
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""How many page faults 160 buffers of 1 MiB cost."""


@pytest.mark.parametrize(("word", "is_cheap"), [("keep", True), ("give back", False)])
def test_buffers_that_are_used_again_cost_no_page_faults(word: str, *, is_cheap: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) < 1000) is is_cheap
