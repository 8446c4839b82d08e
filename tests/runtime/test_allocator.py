import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from hpc_ds.runtime.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
import numpy as np
def step():
    arrays = [np.ones(2**20) for _ in range(4)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_arrays_of_later_steps_touch_no_new_pages():
    environment = {
        "MALLOC_MMAP_THRESHOLD_": "1048576",
        "PATH": "/usr/bin",
    }  # what glibc does at first, held fast
    faults = {
        way: int(
            subprocess.run(
                [sys.executable, "-c", STEPS, way],
                capture_output=True,
                text=True,
                check=True,
                env=environment,
            ).stdout
        )
        for way in ("keep", "leave")
    }
    assert faults["keep"] < 1000
    assert faults["leave"] > 10 * faults["keep"]
