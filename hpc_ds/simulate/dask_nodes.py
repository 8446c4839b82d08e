"""Dask's scheduler and worker with the run's keys and without the HTTP servers that each of them opens."""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import dask.config
from distributed import Client, Scheduler, Security, Worker
from distributed.diagnostics.plugin import SchedulerPlugin

from hpc_ds.simulate import tasks
from hpc_ds.simulate.dask_settings import WEBSOCKET_ORIGINS, hush_dask
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


class QuietClient(Client):
    """A client that is closed by whoever made it; one that could not connect waits and complains no further."""

    def __del__(self) -> None:
        """Do nothing."""


class QuietScheduler(Scheduler):
    """A scheduler that serves HTTP only if it is asked for the dashboard, and then on loopback only."""

    def __init__(self, *args: Any, dashboard: bool = False, **options: Any) -> None:
        options["dashboard_address"] = "127.0.0.1:8787" if dashboard else None
        self._serves_http = dashboard
        with _no_scratch(self):
            super().__init__(*args, dashboard=dashboard, **options)
        self.add_plugin(OnceOnly(self))

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Start it for the dashboard only, which answers to the pages that it served itself and to no others."""
        if self._serves_http:
            super().start_http_server(*args, **options)
            port = self.http_server.port  # an ssh tunnel must use the same number
            dask.config.set({WEBSOCKET_ORIGINS: [f"localhost:{port}", f"127.0.0.1:{port}"]})

    async def close(self, *args: Any, **options: Any) -> None:
        """Close in silence."""
        hush_dask()
        await super().close(*args, **options)


class QuietWorker(Worker):
    """A worker that serves no HTTP, and whose compute processes end before it does."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.pop("local_directory", None)
        with _no_scratch(self):
            super().__init__(*args, **options)

    def start_http_server(self, *args: Any, **options: Any) -> None:
        """Start nothing."""

    async def close(self, *args: Any, **options: Any) -> Any:
        """Have the compute processes close their files, so that no thread waits for one, and close in silence."""
        hush_dask()
        await asyncio.to_thread(tasks.close)
        return await super().close(*args, **options)


@contextmanager
def _no_scratch(server: Scheduler | Worker) -> Iterator[None]:
    """Take the folder for scratch data away from a server that is being made: it has none.

    Dask also looks for modules there, before it looks elsewhere, and takes a name below /tmp that others can guess.
    """
    with (
        tempfile.TemporaryDirectory(prefix="hpc-ds-") as scratch,
        dask.config.set({"temporary-directory": scratch}),
    ):
        yield
        server._workdir = None
        with suppress(ValueError):
            sys.path.remove(server.local_directory)
