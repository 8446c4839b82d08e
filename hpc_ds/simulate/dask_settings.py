"""How Dask is set up for ensembles: no gossip, no stealing, no retries of its own, no HTTP, logs that stay quiet."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CONNECT = "60s"
"""Time that a connection may take to come about; thousands of workers connect at once."""

WEBSOCKET_ORIGINS = "distributed.scheduler.dashboard.bokeh-application.allow_websocket_origin"
"""Whose pages may talk to the dashboard."""

SETTINGS: dict[str, Any] = {
    # A task that lost its worker is the client's business: it reads the journals and orders only what is missing.
    "distributed.scheduler.allowed-failures": 0,
    # Orders wait at the scheduler until a worker has a free thread (and one order in reserve): nothing to steal.
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": 1.1,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.worker-ttl": "5 minutes",
    "distributed.scheduler.events-cleanup-delay": "1m",
    "distributed.scheduler.idle-timeout": None,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.scheduler.preload": [],
    "distributed.worker.preload": [],
    "distributed.client.preload": [],
    "distributed.worker.lifetime.duration": None,
    "distributed.worker.resources": {},
    # Memory belongs to the compute processes; the worker itself holds nothing.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.worker.use-file-locking": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.low-level-log-length": 100,
    "distributed.admin.log-length": 100,
    "distributed.diagnostics.nvml": False,
    "distributed.diagnostics.computations.max-history": 1,
    "distributed.diagnostics.erred-tasks.max-history": 1,
    "distributed.comm.timeouts.connect": CONNECT,
    "distributed.comm.retry.count": 0,
    "distributed.comm.compression": False,
    "distributed.dashboard.link": "{scheme}://{host}:{port}/status",
    WEBSOCKET_ORIGINS: [],
}
"""Set in code before anything starts, as files and variables of the user's may say something else."""

_NO_PAGES: dict[str, Any] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}

_LOUD = ("distributed", "tornado", "bokeh", "asyncio")


@contextmanager
def dask_set_up(log: Path | None = None, dashboard: bool = False) -> Iterator[None]:
    """Have Dask in this process follow `SETTINGS` and log warnings and worse to a file; afterwards all is as before.

    Parameters
    ----------
    log : Path, optional
        Made at the first warning; without it they go to stderr.
    dashboard : bool
        Whether this process serves pages.
    """
    import dask.config

    # Before anything is set: it sets its loggers up, and its defaults, which would leave again with what is set here.
    import distributed  # noqa: F401

    with dask.config.set(SETTINGS if dashboard else {**SETTINGS, **_NO_PAGES}):
        handler = logging.StreamHandler() if log is None else logging.FileHandler(log, delay=True)
        # Some messages list all tasks.
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message).500s"))
        before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in _loggers()]
        try:
            for logger, *_ in before:
                top = logger.name in _LOUD
                _set_logger(
                    logger, [handler] if top else [], logging.WARNING if top else logging.NOTSET, not top
                )
            yield
        finally:
            for state in before:
                _set_logger(*state)
            handler.close()


def hush_dask() -> None:
    """Log nothing more: at the end all that can be told is that one process ended before the other."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _loggers() -> list[logging.Logger]:
    for name in _LOUD:
        logging.getLogger(name)
    known = logging.Logger.manager.loggerDict.items()
    return [
        logger for name, logger in known if isinstance(logger, logging.Logger) and name.split(".")[0] in _LOUD
    ]


def _set_logger(logger: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate
