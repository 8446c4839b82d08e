"""A Dask worker as a child of a supervisor: ``python -m hpc_ds.simulate.dask_worker``.

What it needs comes in two lines of JSON over its standard input: what to prepare (at once), and whom to join (when
there is a scheduler). The end of the input is the order to end. Its output is one line, ``ready``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from typing import Any, NoReturn

from hpc_ds.runtime.parent import end_with_parent
from hpc_ds.runtime.threads import limit_threads

READY = "ready"

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that launchers send to whole process groups: what they mean is the supervisor's business."""

_JOINING = 120.0
"""Seconds after which a worker that does not reach the scheduler ends, saying so."""


def main() -> None:
    """Prepare, join the scheduler and work until told to end."""
    plan = _read_line()
    end_with_parent(plan["parent"])
    _ignore_signals()
    limit_threads(1)
    output = _take_output()
    from hpc_ds.simulate import tasks

    tasks.prestart(plan["folder"], plan["session"], plan["processes"])
    from hpc_ds.simulate.dask_settings import dask_set_up

    with dask_set_up():
        import hpc_ds.simulate.dask_nodes  # noqa: F401 - the time until the invitation comes is for importing

        invitation = _read_line()
        threading.Thread(target=_end_when_told, daemon=True).start()
        asyncio.run(_work(plan, invitation, output))
        _end(0)


async def _work(plan: dict[str, Any], invitation: dict[str, Any], output: Any) -> None:
    from hpc_ds.simulate.dask_nodes import QuietWorker, RunSecurity
    from hpc_ds.simulate.keys import Keys

    worker = QuietWorker(
        invitation["scheduler"],
        nthreads=plan["processes"],
        name=plan["name"],
        host=invitation["host"],
        protocol="tls",
        security=RunSecurity(Keys(invitation["certificate"], invitation["private"])),
        memory_limit=0,
        death_timeout=_JOINING,
    )
    async with worker:
        print(READY, file=output, flush=True)
        await worker.finished()


def _read_line() -> dict[str, Any]:
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        _end(0)
    return json.loads(line)


def _ignore_signals() -> None:
    """Do nothing at the signals of a process group; handlers, unlike SIG_IGN, are not passed on to children."""
    numbers = [getattr(signal, name) for name in SIGNALS]
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # the supervisor had blocked them until now


def _take_output() -> Any:
    """Keep the pipe to the supervisor for this module; what libraries print goes to stderr."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(pipe, "w")


def _end_when_told() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    _end(0)


def _end(code: int) -> NoReturn:
    """End at once, after the compute processes have closed their files; Dask has nothing that is worth a goodbye."""
    tasks = sys.modules.get("hpc_ds.simulate.tasks")
    if tasks is not None:
        tasks.close()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
