"""Libraries that must be loaded before all others, or that LD_PRELOAD names in vain."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from hpc_ds.jobs.doctor.finding import Finding
from hpc_ds.jobs.doctor.situation import Situation

NAME = "LD_PRELOAD"

FUJITSU_PMIX = "/usr/lib/FJSVtcs/ple/lib64/libpmix.so"
"""What Python on Fugaku's compute nodes needs where MPI comes with netCDF or HDF5 (Fugaku's Spack notes)."""

_STATIC = re.compile(r"(/\S+?\.so[\w.]*): cannot allocate memory in static TLS block")


def check_preload(situation: Situation, pmix: str = FUJITSU_PMIX) -> Iterator[Finding]:
    """Say whether LD_PRELOAD names files that are there, and on Fujitsu's machines the one that is needed."""
    named = [part for part in re.split(r"[\s:]+", situation.environ.get("LD_PRELOAD", "")) if part]
    missing = [part for part in named if "/" in part and not os.path.exists(part)]
    if missing:
        kept = ":".join(part for part in named if part not in missing)
        cure = f"export LD_PRELOAD={kept}" if kept else "unset LD_PRELOAD"
        yield Finding(NAME, "note", f"names {', '.join(missing)}, which is not here", cure)
    elif os.path.exists(pmix) and not any("libpmix" in part for part in named):
        yield Finding(
            NAME, "note", "Fujitsu's MPI under Python needs its libpmix", f"export LD_PRELOAD={pmix}"
        )
    else:
        yield Finding(NAME, "ok", " ".join(named) or "nothing, and nothing needed")


def cure_of(reason: str) -> str:
    """Return the command that mends an import which failed for this `reason`, empty where none is known."""
    static = _STATIC.search(reason)
    if static:
        return f"export LD_PRELOAD={static.group(1)}"
    if "PMIx" in reason or "libpmix" in reason:
        return f"export LD_PRELOAD={FUJITSU_PMIX}"
    return ""
