"""Memory that is freed is kept."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from ossicle.model.training.allocator import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(8_000_000)
before = faults()
for _ in range(10):
    np.ones(8_000_000)
print(faults() - before)
"""


def page_faults(argument: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, argument], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("this C library's allocator cannot be told to keep memory")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_large_blocks_are_not_mapped_anew() -> None:
    assert page_faults("keep") < page_faults("default") / 10
