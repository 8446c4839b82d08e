"""Whether compiled kernels can be kept, and whether the kept ones are of these sources."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpc_ds.jobs.doctor.child import probe
from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.situation import Situation
from hpc_ds.runtime.amounts import size_text

NAME, HOME = "compiled kernels", "home folder"

_MANY_BYTES = 500e6
"""Left-over kernels of earlier sources that are worth a word."""


def check_kernels(situation: Situation) -> Iterator[Finding]:
    """Say where compiled kernels are kept, and whether that works."""
    answer, outcome = probe("kernels", situation.child_environ)
    if "numba" not in answer:
        yield Finding(NAME, "wrong", f"numba cannot be loaded: {outcome.last_words}", "bash launch/setup.sh")
    else:
        yield _kept(answer)


def check_home(situation: Situation) -> Iterator[Finding]:
    """Say whether the home folder is there and can be written: on the compute nodes of some machines it is not."""
    home = Path(situation.environ.get("HOME") or os.path.expanduser("~"))
    if home.is_dir() and os.access(home, os.W_OK):
        yield Finding(HOME, "ok", str(home))
        return
    trouble = "cannot be written" if home.is_dir() else "is not visible"
    cache = situation.existing_folder / ".cache"
    cure = f"export XDG_CACHE_HOME={cache} MPLCONFIGDIR={cache}/matplotlib"
    yield Finding(HOME, "note", f"{home} {trouble} here: what programs keep there must go elsewhere", cure)


def _kept(answer: dict[str, Any]) -> Finding:
    folder, count = answer["folder"], answer["kernels"]
    if answer["trouble"]:
        found = f"{folder} cannot be written here ({answer['trouble']}): runs that compile will end"
        return Finding(NAME, "wrong", found, "export NUMBA_CACHE_DIR=/a/folder/that/compute/nodes/can/write")
    if not answer["named_after_sources"] and answer["older"]:
        found = f"{folder}: {answer['older']} of {count} are older than the sources, and numba may not notice"
        return Finding(NAME, "note", found, f"rm -r {folder}")
    if answer["leftover_bytes"] > _MANY_BYTES:
        size = f"{len(answer['leftovers'])} folders of earlier sources, {size_text(answer['leftover_bytes'])}"
        found = f"{folder}: {count} kept; beside it {size}"
        current, parent = Path(folder).name, Path(folder).parent
        cure = f"find {parent} -maxdepth 1 -name 'compiled-*' ! -name {current} -exec rm -r {{}} +"
        return Finding(NAME, "note", found, cure)
    first = "" if count else "; none yet: the first start compiles for half a minute"
    return Finding(NAME, "ok", f"{folder}: {count} kept{first}")
