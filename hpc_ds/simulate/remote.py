"""A scheduler in another process, as its client sees it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from distributed import Client

from hpc_ds.simulate import tasks
from hpc_ds.simulate.job import Job

_FRESH = 0.5
"""Seconds that an answer of the scheduler's holds."""

_CLOSING = 5.0


class Remote:
    """Asks a scheduler how many threads its workers have.

    Parameters
    ----------
    client : distributed.Client
        Connected to it.
    job : Job
        Whose session ends with `close`.
    """

    def __init__(self, client: Client, job: Job) -> None:
        self._client, self._job = client, job
        self._address: str = client.scheduler.address
        self._slots, self._asked = 0, float("-inf")
        self._problem: str | None = None

    def slots(self) -> int:
        """Return how many threads the workers have that are there now."""
        if time.monotonic() - self._asked > _FRESH:
            try:
                self._slots = sum(self._client.nthreads().values())
                self._problem = None
            except (OSError, RuntimeError, TypeError, AttributeError) as error:
                self._slots = 0
                self._problem = f"the scheduler {self._address} is gone ({type(error).__name__})"
            self._asked = time.monotonic()
        return self._slots

    def trouble(self) -> str | None:
        """Return that the scheduler is gone, or None."""
        self.slots()
        return self._problem

    def dashboard(self) -> str | None:
        """Return the address of the scheduler's dashboard, if it has one."""
        with suppress(KeyError, OSError):
            return self._client.dashboard_link or None
        return None

    def close(self) -> None:
        """Have the workers end the session's compute processes, and close the client; scheduler and workers stay."""
        with suppress(Exception):
            self._client.run(_release, self._job.folder, self._job.session, wait=False, on_error="ignore")
        with suppress(Exception):  # whatever is wrong with it, it goes
            self._client.close(timeout=_CLOSING)


async def _release(folder: str, session: str) -> None:
    await asyncio.to_thread(tasks.close, folder, session)
