"""Dask is set up for a run and left as it was, whichever came first, the set-up or the import of distributed."""

import json
import subprocess
import sys

import pytest

FIRST = {"the set-up": "", "the import": "import distributed"}

SCRIPT = """
import json, sys
import dask.config
{first}
from hpc_ds.simulate.dask_settings import SETTINGS, dask_set_up

names = [*SETTINGS, "distributed.comm.tls.ciphers"]
with dask_set_up():
    during = [dask.config.get(name, "none at all") for name in names]
import distributed
after = [dask.config.get(name, "none at all") for name in names]
dask.config.refresh()
usual = [dask.config.get(name, "none at all") for name in names]
print(json.dumps([during[:-1] == list(SETTINGS.values()), after == usual, "none at all" in after]))
"""


@pytest.mark.parametrize("first", FIRST)
def test_afterwards_all_is_as_distributed_has_it(first):
    script = SCRIPT.format(first=FIRST[first])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == [True, True, False]
