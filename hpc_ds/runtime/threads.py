"""How many threads a rank may use, and telling the numerical libraries before they start."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from hpc_ds.runtime.world import World

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores_per_rank(world: World) -> int:
    """Return the number of cores that this rank may keep busy; collective over `world`, at least 1.

    A core that several ranks of a machine may run on is shared out among them, so that bound and unbound
    ranks are both counted rightly. SLURM_CPUS_PER_TASK and the CPU quota of a container lower the answer.
    """
    host = platform.node()
    everyone = world.allgather((host, _core_mask()))
    neighbours = [_cores(mask) for name, mask in everyone if name == host]
    users = Counter(core for cores in neighbours for core in cores)
    share = sum(1.0 / users[core] for core in _cores(_core_mask()))
    limits = [share, _quota() / len(neighbours), _allotted(os.environ)]
    return max(1, int(min(limits) + 1e-9))


def available_cores() -> int:
    """Return the number of cores that the operating system lets this process run on."""
    return _core_mask().bit_count()


def limit_threads(n: int) -> None:
    """Let OpenMP, OpenBLAS, MKL, numba and torch use at most `n` threads in this process and its children.

    Variables that the user has set are left alone. The libraries read them when they are loaded, so this must
    be called before NumPy is imported; torch alone listens later too, and is told if it is there.

    Raises
    ------
    ValueError
        `n` below 1.
    """
    if n < 1:
        raise ValueError(f"number of threads is {n}: it must be at least 1")
    for variable in _VARIABLES:
        # numba re-reads its variable at every compilation and refuses a change once its threads run.
        if variable == "NUMBA_NUM_THREADS" and "numba" in sys.modules:
            continue
        os.environ.setdefault(variable, str(n))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n)


def _core_mask() -> int:
    if hasattr(os, "sched_getaffinity"):
        return sum(1 << core for core in os.sched_getaffinity(0))
    return (1 << (os.cpu_count() or 1)) - 1


def _cores(mask: int) -> list[int]:
    return [core for core in range(mask.bit_length()) if mask >> core & 1]


def _quota() -> float:
    """Cores that the container's control group (cgroup v2) grants, infinity when it sets no limit."""
    try:
        granted, period = _QUOTA.read_text().split()
        return float("inf") if granted == "max" else float(granted) / float(period)
    except (OSError, ValueError):
        return float("inf")


def _allotted(environ: Mapping[str, str]) -> float:
    text = environ.get("SLURM_CPUS_PER_TASK", "")
    return float(text) if text.isdigit() and int(text) > 0 else float("inf")
