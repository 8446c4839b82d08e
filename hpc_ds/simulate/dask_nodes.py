"""Dask's scheduler and worker with the run's keys and without the HTTP servers that each of them opens."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from distributed import Scheduler, Security, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

from hpc_ds.simulate import tasks
from hpc_ds.simulate.dask_settings import hush_dask
from hpc_ds.simulate.keys import Keys, tls_context


class RunSecurity(Security):
    """TLS with the keys of a run, both sides checked, for all three roles."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        super().__init__(require_encryption=True)
        self._keys = keys

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Return what a connection is opened with."""
        return {
            "ssl_context": tls_context(self._keys, ssl.Purpose.SERVER_AUTH),
            "require_encryption": True,
            "extra_conn_args": {},
        }

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return what connections are accepted with."""
        return {"ssl_context": tls_context(self._keys, ssl.Purpose.CLIENT_AUTH), "require_encryption": True}


class OnceOnly(SchedulerPlugin):
    """Has no task run again whose result was lost with its worker: the client's future is cancelled instead.

    What the task did is on the disk, and the client reads there; Dask would do it a second time.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._tasks = scheduler.tasks

    def transition(self, key: Any, start: str, finish: str, *args: Any, **options: Any) -> None:
        """Forget how a result was computed, as of data that a client brought."""
        if finish == "memory":
            self._tasks[key].run_spec = None


class QuietScheduler(Scheduler):
    """A scheduler that serves HTTP only if it is asked for the dashboard, and then on loopback only."""

    def __init__(self, *args: Any, dashboard: bool = False, **options: Any) -> None:
        options["dashboard_address"] = "127.0.0.1:8787" if dashboard else None
        self._serves_http = dashboard
        super().__init__(*args, dashboard=dashboard, **options)
        self.add_plugin(OnceOnly(self))

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Start it for the dashboard only."""
        if self._serves_http:
            super().start_http_server(*args, **options)

    async def close(self, *args: Any, **options: Any) -> None:
        """Close in silence."""
        hush_dask()
        await super().close(*args, **options)


class QuietWorker(Worker):
    """A worker that serves no HTTP, and whose compute processes end before it does."""

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Start nothing."""

    async def close(self, *args: Any, **options: Any) -> Any:
        """Have the compute processes close their files, so that no thread waits for one, and close in silence."""
        hush_dask()
        await asyncio.to_thread(tasks.close)
        return await super().close(*args, **options)
