"""Memory that is freed is kept, until it is given back."""

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


GAPS = """
import os, sys
from pathlib import Path
import numpy as np
from ossicle.model.training.allocator import give_back_freed_memory, keep_freed_memory
def megabytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
if not keep_freed_memory():
    sys.exit(3)
kept, freed = [], []
for _ in range(50):
    freed.append(np.ones(500_000))
    kept.append(np.ones(1000))
before = megabytes()
freed.clear()
assert megabytes() > before - 20, "nothing was kept"
assert give_back_freed_memory()
print(before - megabytes())
"""


def printed(program: str, *arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        pytest.skip("this C library's allocator cannot be told to keep memory")
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_large_blocks_are_not_mapped_anew() -> None:
    assert printed(PROGRAM, "keep") < printed(PROGRAM, "default") / 10


def test_gaps_between_blocks_that_are_in_use_are_given_back() -> None:
    assert printed(GAPS) > 150  # of 200 MB
