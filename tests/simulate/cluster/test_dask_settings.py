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

READ = """
import json
import dask.config
read, get = [], dask.config.get
dask.config.get = lambda name, *rest, **named: read.append(name) or get(name, *rest, **named)
import distributed, distributed.nanny, distributed.scheduler, distributed.worker
from hpc_ds.simulate.dask_settings import SETTINGS
print(json.dumps([len(read), [name for name in SETTINGS if name in read]]))
"""


def answer(script):
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("first", FIRST)
def test_afterwards_all_is_as_distributed_has_it(first):
    assert answer(SCRIPT.format(first=FIRST[first])) == [True, True, False]


def test_no_setting_is_one_that_distributed_reads_when_it_is_imported():
    """Such a one would come too late."""
    number_read, in_vain = answer(READ)
    assert number_read > 0
    assert in_vain == []
