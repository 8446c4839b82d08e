"""Where orders for a group of ranks come in through Dask's thread and are worked off by the main thread."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hpc_ds.runtime.world import World
from hpc_ds.simulate import started
from hpc_ds.simulate.bench import Bench
from hpc_ds.simulate.logs import log_path
from hpc_ds.simulate.orders import Failure, FailureKind, Order, Report
from hpc_ds.simulate.rank_group import RankGroup, end_job, set_aside
from hpc_ds.simulate.recording import Recorder, Samples
from hpc_ds.store.quarantine import FailedSample

_LOOK = 0.03
"""Seconds between looks at whether all is over."""

_LAST_RESORT = 5.0
"""Seconds past its limit after which a simulator that lets no other thread run ends the job."""

_SHOWN = 8
"""Innermost calls that are recorded of where the first rank was when a sample ran past its limit."""


class GroupDesk:
    """Works off orders on the first rank of a group.

    Parameters
    ----------
    world : World
        The ranks of the job.
    group : RankGroup
        Its other ranks `follow`.
    folder : Path
        The run folder.
    name : str
        Unique among all groups of all sessions.
    samples : Samples
        What samples are made from.
    deaths : mapping of int to Deaths
        Jobs that have ended while a sample was under way.
    """

    def __init__(
        self,
        world: World,
        group: RankGroup,
        folder: Path,
        name: str,
        samples: Samples,
        deaths: Mapping[int, started.Deaths],
    ) -> None:
        self._world, self._group, self._folder, self._name = world, group, folder, name
        self._samples, self._deaths = samples, deaths
        self._recorder = Recorder(folder, name, samples.layout)
        self._started = started.Started(folder, name)
        self._bench = Bench(samples, self._recorder, self._take, log_path(folder, name), group.compute)
        self._orders: queue.SimpleQueue[tuple[Order, Future[Report]]] = queue.SimpleQueue()
        self._closed = False
        self._report = Report()
        self._limit: float | None = None
        self._watch: threading.Timer | None = None

    def run(self, order: Order) -> Report:
        """Have the main thread work an order off, and wait for that; called by Dask's thread.

        Raises
        ------
        StorageError, RuntimeError
            The disk refuses; the group has been closed.
        """
        future: Future[Report] = Future()
        self._orders.put((order, future))
        if self._closed:
            self.close()
        return future.result()

    def close(self) -> None:
        """Refuse orders that have not been begun, and all later ones."""
        self._closed = True
        while True:
            try:
                _, future = self._orders.get_nowait()
            except queue.Empty:
                return
            future.set_exception(RuntimeError(f"{self._name}: takes no more orders"))

    def serve(self, over: Callable[[], bool]) -> None:
        """Work off orders until ``over()``, which is asked before each sample; called by the main thread."""
        while not over():
            try:
                order, future = self._orders.get(timeout=_LOOK)
            except queue.Empty:
                continue
            try:
                future.set_result(self._work_off(order, over))
            except Exception as error:  # it concerns all samples: the client decides
                future.set_exception(error)
        self.close()
        self._recorder.close()
        self._started.close()
        self._group.dismiss()

    def _work_off(self, order: Order, over: Callable[[], bool]) -> Report:
        report = self._report = Report(worker=self._name)
        self._limit = order.sample_limit
        waiting = deque(order.indices)
        while waiting and not (over() or report.left or _said_stop(report)):
            self._settle(waiting.popleft(), order)
        report.left += waiting
        return report

    def _settle(self, index: int, order: Order) -> None:
        """Compute one sample, or set it aside for what it did to earlier jobs."""
        aside = self._condemned(index, order.retries)
        self._bench.work(
            aside,
            [] if aside else [[index]],
            order.ends_at,
            order.expected,
            order.retries,
            order.sample_limit is not None,
        )
        if aside:
            started.forget(self._folder, index)

    def _condemned(self, index: int, retries: int) -> list[tuple[int, FailureKind, str, str, int]]:
        jobs, stack = self._deaths.get(index, started.Deaths(0, ""))
        if stack:
            return [(index, "timeout", "ran past its limit and let nothing else run", stack, jobs)]
        if jobs > retries:
            return [(index, "killed", f"the job ended {jobs} times while it was computed", "", jobs)]
        return []

    def _take(self, *event: Any, now: bool = False) -> None:
        """Take note of what the bench says."""
        match event:
            case ["start", [index], *_]:
                self._started.say(index)
                self._begin_watch(index)
            case ["computed"]:
                self._end_watch()
            case ["done", index, seconds]:
                self._report.done.append((index, seconds))
            case ["failed", index, kind, message]:
                self._report.failed.append(Failure(index, kind, message))
            case ["left", indices]:
                self._report.left += indices

    def _begin_watch(self, index: int) -> None:
        if self._limit is not None:
            parameters = self._samples.parameters(index)
            self._watch = threading.Timer(self._limit, self._overrun, (index, parameters, self._limit))
            self._watch.daemon = True
            self._watch.start()
            self._started.end_process_after(self._limit + _LAST_RESORT)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self._started.go_on()

    def _overrun(self, index: int, parameters: Mapping[str, Any], limit: float) -> None:
        message = f"ran past its limit of {limit:g} s"
        where = sys._current_frames().get(threading.main_thread().ident or 0)
        stack = "".join(traceback.format_stack(where)[-_SHOWN:])
        sample = FailedSample(index, parameters, "timeout", message, 1, stack)
        set_aside(self._folder, f"{self._name}-watch", sample)
        end_job(
            self._world,
            f"sample {index} {message}; ranks cannot be taken out of a simulator: the job ends; the sample is set "
            "aside, and the next start goes on with the others",
        )


def _said_stop(report: Report) -> bool:
    return any(failure.kind == "stop" for failure in report.failed)
