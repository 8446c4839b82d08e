"""Job scripts, submission and chains on clusters: nothing here imports MPI, torch, Dask, numba or h5py.

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpc_ds.jobs.description import Job as Job
    from hpc_ds.jobs.description import make_job as make_job
    from hpc_ds.jobs.machines import Machine as Machine
    from hpc_ds.jobs.machines import machine as machine
    from hpc_ds.jobs.submission import preview as preview
    from hpc_ds.jobs.submission import submit as submit
    from hpc_ds.jobs.sweep import read_axes as read_axes

_WHERE = {
    "Job": "description",
    "Machine": "machines",
    "machine": "machines",
    "make_job": "description",
    "preview": "submission",
    "read_axes": "sweep",
    "submit": "submission",
}
__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
