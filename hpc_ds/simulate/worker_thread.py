"""A Dask worker in a thread of a rank, whose main thread computes."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType

from hpc_ds.simulate.dask_nodes import QuietWorker, RunSecurity
from hpc_ds.simulate.dask_settings import dask_set_up
from hpc_ds.simulate.keys import Keys

_JOINING = 120.0
"""Seconds after which a worker that does not reach the scheduler ends."""

_CLOSING = 5.0
"""Seconds that it gets to take its leave; its thread ends with the process anyway."""


class WorkerThread:
    """A worker for one order at a time; a context manager at whose end it closes.

    Parameters
    ----------
    scheduler : str
        Address of the scheduler.
    keys : Keys
        Of the run.
    host : str
        Address to bind to.
    name : str
        The worker's name.
    log : Path or None
        File for Dask's warnings; None where this process has set Dask up already.
    """

    def __init__(self, scheduler: str, keys: Keys, host: str, name: str, log: Path | None) -> None:
        self._scheduler, self._security, self._host, self._name = scheduler, RunSecurity(keys), host, name
        self._log = log
        self._error: BaseException | None = None
        self._loop, self._closing = asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="dask-worker", daemon=True)

    def __enter__(self) -> WorkerThread:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self) -> None:
        """Raise RuntimeError if the worker has ended by itself: orders do not come through any more."""
        if not self._thread.is_alive():
            raise RuntimeError(f"Dask's worker {self._name} has lost {self._scheduler}") from self._error

    def close(self) -> None:
        """Have the worker take its leave; may be called twice."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(2 * _CLOSING)

    def _run(self) -> None:
        try:
            with nullcontext() if self._log is None else dask_set_up(self._log):
                asyncio.set_event_loop(self._loop)
                self._loop.run_until_complete(self._work())
        except BaseException as error:
            self._error = error

    async def _work(self) -> None:
        worker = QuietWorker(
            self._scheduler,
            nthreads=1,
            name=self._name,
            host=self._host,
            protocol="tls",
            security=self._security,
            memory_limit=0,
            death_timeout=_JOINING,
        )
        working = asyncio.create_task(_until_finished(worker))
        closing = asyncio.create_task(self._closing.wait())
        await asyncio.wait((working, closing), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return
        with suppress(Exception):  # whatever is wrong with it, it goes
            await worker.close(timeout=_CLOSING, executor_wait=False)
        working.cancel()


async def _until_finished(worker: QuietWorker) -> None:
    await worker
    await worker.finished()
