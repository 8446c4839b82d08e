"""Dask's scheduler in a thread of this process, with its client beside it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path

import dask.config
from distributed import Client
from tornado.ioloop import IOLoop

from hpc_ds.simulate.dask_nodes import QuietScheduler, RunSecurity
from hpc_ds.simulate.dask_settings import CONNECT, dask_set_up
from hpc_ds.simulate.keys import Keys

_CLOSING = 5.0
"""Seconds that the scheduler gets to close; its thread ends with the process anyway."""


class SchedulerThread:
    """A scheduler that listens on one address, for whoever has the keys.

    Parameters
    ----------
    host : str
        Address to bind to.
    keys : Keys
        Of the run.
    dashboard : bool
        Serve Dask's dashboard on loopback.
    log : Path
        File for Dask's warnings.
    silent_workers : bool
        Workers may be silent for as long as they like: they share their processes with what they compute.

    Attributes
    ----------
    address : str
        Where workers find it, e.g. ``tls://127.0.0.1:40001``.
    client : distributed.Client
        Connected to it.
    dashboard : str or None
        Address of the dashboard.
    """

    def __init__(
        self, host: str, keys: Keys, dashboard: bool, log: Path, silent_workers: bool = False
    ) -> None:
        self._set_up = ExitStack()
        self._set_up.enter_context(dask_set_up(log, dashboard))
        if silent_workers:
            self._set_up.enter_context(dask.config.set({"distributed.scheduler.worker-ttl": None}))
        self._host, self._security, self._serves = host, RunSecurity(keys), dashboard
        ready: Future[QuietScheduler] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="dask-scheduler", daemon=True)
        self._thread.start()
        self._scheduler = ready.result()
        self.address: str = self._scheduler.address
        self.dashboard = self._dashboard_address() if dashboard else None
        self.client = Client(
            self.address, loop=self._io_loop, security=self._security, set_as_default=False, timeout=CONNECT
        )

    def threads(self) -> int:
        """Return how many threads the workers have that are here now."""
        return self._scheduler.total_nthreads

    def close(self) -> None:
        """Close the client and the scheduler."""
        with suppress(Exception):  # whatever is wrong with it, it goes
            self.client.close(timeout=_CLOSING)
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(_CLOSING)
        self._set_up.close()

    def _run(self, ready: Future[QuietScheduler]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)

    async def _serve(self, ready: Future[QuietScheduler]) -> None:
        self._closing = asyncio.Event()
        self._loop, self._io_loop = asyncio.get_running_loop(), IOLoop.current()
        scheduler = QuietScheduler(
            host=self._host, port=0, protocol="tls", security=self._security, dashboard=self._serves
        )
        async with scheduler:
            ready.set_result(scheduler)
            await self._closing.wait()

    def _dashboard_address(self) -> str:
        return f"http://127.0.0.1:{self._scheduler.http_server.port}/status"
