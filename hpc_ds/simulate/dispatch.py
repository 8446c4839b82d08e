"""The client's loop: hand out orders, take reports, order again what died with its worker, stop in time."""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.simulate.batches import Batches, Durations, without
from hpc_ds.simulate.orders import Failure, Order, Report

if TYPE_CHECKING:
    from hpc_ds.simulate.cluster import Cluster

AHEAD = 2
"""Orders that each compute process has at hand, so that it never waits for the scheduler."""

LOST = 5
"""Times that a sample may die with its worker before it is set aside."""

HOPELESS = 50
"""Samples that fail alike before any succeeded, after which the run ends instead of trying all others."""

_LOOK = 0.2
_DEATHS = ("KilledWorker", "CancelledError", "FutureCancelledError", "CommClosedError")
"""Errors by which Dask tells that a task's worker is gone (by name: importing them would import Dask)."""
_GRACE = 5.0
"""Seconds that running orders get after a signal asked to stop; without one they have until the end of the time."""


class Ledger(Protocol):
    """What the run folder knows of samples; read when a worker died."""

    def refresh(self) -> Iterable[int]:
        """Read what was journalled meanwhile and return all samples that are settled: done or set aside."""
        ...

    def set_aside(self, failure: Failure) -> None:
        """Journal and quarantine a sample whose workers died."""
        ...


class Halt(RuntimeError):
    """The run cannot go on, for a reason that all samples share; the message is one line."""


@dataclass
class Tally:
    """What became of the samples of this session."""

    done: int = 0
    failed: list[Failure] = field(default_factory=list)
    lost: int = 0
    """Samples that died with a worker and were ordered again."""
    seconds: float = 0.0
    """Computing time of the samples that are done."""
    longest: float = 0.0
    wall: float = 0.0
    """Seconds from the first order to the last report."""
    stopped: str | None = None
    """Why work ended before all was done."""

    def add(self, other: Tally) -> None:
        """Add what a later piece of the session did."""
        self.done += other.done
        self.failed += other.failed
        self.lost += other.lost
        self.seconds += other.seconds
        self.longest = max(self.longest, other.longest)
        self.wall += other.wall
        self.stopped = other.stopped


def together(tallies: Iterable[Tally]) -> Tally:
    """Return what became of the samples of shares that were worked off side by side."""
    total = Tally()
    wall, stopped = 0.0, None
    for tally in tallies:
        wall, stopped = max(wall, tally.wall), stopped or tally.stopped
        total.add(tally)
    total.wall, total.stopped = wall, stopped
    return total


class Dispatch:
    """Works off samples on a cluster.

    Parameters
    ----------
    cluster : Cluster
        Where they are computed.
    template : Order
        What all orders share; indices and clock are filled in.
    block : int
        Samples that the simulator takes at once.
    ledger : Ledger
        The run folder's knowledge.
    deadline : Deadline
        When to stop.
    progress : Progress
        Told of every report.
    settled : int
        Samples that earlier sessions settled, for the progress.
    run : callable
        The task; `hpc_ds.simulate.tasks.run_order`.
    """

    def __init__(
        self,
        cluster: Cluster,
        template: Order,
        block: int,
        ledger: Ledger,
        deadline: Deadline,
        progress: Progress,
        settled: int,
        run: Callable[[Order], Report],
    ) -> None:
        self.tally = Tally()
        self._cluster, self._template, self._block = cluster, template, block
        self._ledger, self._deadline, self._progress, self._run = ledger, deadline, progress, run
        self._settled = settled
        self._durations = Durations()
        self._start = time.monotonic()
        self._losses: Counter[int] = Counter()
        self._running: dict[Any, Order] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def work_off(self, todo: Iterable[int]) -> bool:
        """Have all these samples computed or set aside; False if it had to stop before.

        Raises
        ------
        Halt
            The simulator said `Stop`, workers cannot start, or all of the first samples failed alike.
        InputError, StorageError
            What a worker met: a simulator that cannot be loaded, a full disk.
        """
        start = time.monotonic()
        batches = Batches(todo, self._block)
        try:
            while (batches or self._running) and not self._should_stop():
                self._hand_out(batches)
                self._take_reports(batches)
            if self.tally.stopped is not None:
                self._wind_down(batches)
        finally:
            self._running.clear()
            self.tally.wall += time.monotonic() - start
        return self.tally.stopped is None

    def _should_stop(self) -> bool:
        if self.tally.stopped is None:
            self.tally.stopped = self._deadline.reason()
        return self.tally.stopped is not None

    def _hand_out(self, batches: Batches) -> None:
        slots = self._cluster.slots()
        while batches and len(self._running) < AHEAD * slots:
            indices = batches.take(self._durations.mean, slots)
            if not self._fits():
                batches.put_back(indices)
                self.tally.stopped = "no sample more would end in the time that is left"
                return
            self._submit(indices)

    def _fits(self) -> bool:
        return self._deadline.seconds_left() > self._durations.slow * self._block

    def _submit(self, indices: tuple[int, ...]) -> None:
        left = self._deadline.seconds_left()
        order = Order(
            self._template.folder,
            self._template.session,
            indices,
            self._template.sample_limit,
            time.time() + left if left < float("inf") else None,
            self._durations.slow,
            self._template.retries,
        )
        future = self._cluster.client.submit(
            self._run,
            order,
            key=f"order-{indices[0]}-{self._losses[indices[0]]}-{id(order):x}",
            pure=False,
            retries=0,
        )
        self._running[future] = order
        future.add_done_callback(self._ended.put)

    def _take_reports(self, batches: Batches) -> None:
        """Wait a moment for reports and take all that are there."""
        try:
            future = self._ended.get(timeout=_LOOK)
        except queue.Empty:
            self._check_cluster()
            return
        while True:
            self._take(future, batches)
            try:
                future = self._ended.get_nowait()
            except queue.Empty:
                break
        self._show()

    def _take(self, future: Any, batches: Batches) -> None:
        order = self._running.pop(future, None)
        if order is None:
            return
        try:
            report = future.result()
        except BaseException as error:  # Dask's word for a lost result is no Exception
            if type(error).__name__ not in _DEATHS:
                raise
            self._order_again(order, batches)
        else:
            self._book(report, batches)

    def _book(self, report: Report, batches: Batches) -> None:
        self.tally.done += len(report.done)
        self.tally.failed += report.failed
        self._durations.add(seconds for _, seconds in report.done)
        self.tally.seconds, self.tally.longest = self._durations.total, self._durations.longest
        for failure in report.failed:
            if failure.kind == "stop":
                raise Halt(f"sample {failure.index}: the simulator said Stop: {failure.message}")
        self._check_hope()
        if report.left:
            batches.put_back(report.left)
            self.tally.stopped = self.tally.stopped or "no sample more would end in the time that is left"

    def _check_hope(self) -> None:
        """Halt if nothing was ever done and the first samples all failed for the same reason."""
        failed = self.tally.failed
        if self.tally.done or self._settled or len(failed) < HOPELESS:
            return
        if len({(failure.kind, failure.message) for failure in failed}) == 1:
            raise Halt(
                f"the first {len(failed)} samples all failed alike ({failed[0].kind}: {failed[0].message}); "
                "mend that, then give the same command with --retry-failed"
            )

    def _order_again(self, order: Order, batches: Batches) -> None:
        """Put back what a worker that died had not journalled."""
        settled = set(self._ledger.refresh())
        self.tally.done += len(settled.intersection(order.indices))
        again = []
        for index in without(order.indices, settled):
            self._losses[index] += 1
            self.tally.lost += 1
            if self._losses[index] < LOST:
                again.append(index)
            else:
                failure = Failure(index, "killed", f"{LOST} workers died while they had it at hand")
                self._ledger.set_aside(failure)
                self.tally.failed.append(failure)
        batches.put_back(again)

    def _check_cluster(self) -> None:
        trouble = self._cluster.trouble()
        if trouble is not None:
            raise Halt(f"workers cannot start: {trouble}")

    def _wind_down(self, batches: Batches) -> None:
        """Give orders that run the time that is left; after a signal a moment, for most take a second anyway."""
        end = float("inf")
        while self._running and time.monotonic() < end:
            if self._deadline.reason() is not None:
                end = min(end, time.monotonic() + _GRACE)
            self._take_reports(batches)

    def _show(self) -> None:
        failed = len(self.tally.failed)
        fields: dict[str, Any] = {"failed": failed} if failed else {}
        elapsed = time.monotonic() - self._start
        if self._durations.mean is not None and elapsed > 0:
            fields["samples a second"] = self.tally.done / elapsed
            fields["seconds each"] = self._durations.mean
        self._progress.update(self._settled + self.tally.done + failed, **fields)
