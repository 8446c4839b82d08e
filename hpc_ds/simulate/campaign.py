"""A session's work as the client does it: settle all samples of the design, one generation after the other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World
from hpc_ds.simulate.dispatch import Dispatch, Tally
from hpc_ds.simulate.generations import generations
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.orders import Order
from hpc_ds.simulate.shares import Council, Share
from hpc_ds.simulate.tasks import run_order

if TYPE_CHECKING:
    from hpc_ds.simulate.cluster import Cluster


class Campaign:
    """Settles the samples of a job on a cluster.

    Parameters
    ----------
    job : Job
        What is to be done.
    deadline : Deadline
        When to stop.
    council : Council, optional
        The clients of the run's other schedulers, if it has several: then this one settles its share of the samples.
    """

    def __init__(self, job: Job, deadline: Deadline, council: Council | None = None) -> None:
        self._job, self._deadline, self._council = job, deadline, council
        self._share = council.share if council is not None else Share()

    def __call__(self, cluster: Cluster) -> Tally:
        """Return what became of the samples; raises what `Dispatch.work_off` raises."""
        job = self._job
        if cluster.dashboard is not None:
            print(f"hpc-ds: Dask's dashboard: {cluster.dashboard}", file=sys.stderr, flush=True)
        if self._council is not None:
            cluster = self._council.attended(cluster)
        ledger = FolderLedger(job.path, job.session)
        with self._progress() as progress:
            template = Order(
                job.folder, job.session, (), job.settings.sample_limit, None, 0.0, job.settings.retries
            )
            dispatch = Dispatch(
                cluster, template, job.block, ledger, self._deadline, progress, self._settled(), run_order
            )
            for indices in generations(job, ledger):
                if not dispatch.work_off(self._share.of(indices, job.block)):
                    break
        return dispatch.tally

    def _settled(self) -> int:
        """Samples that earlier sessions settled; the client of the first share counts them."""
        return self._job.settled if self._share.number == 0 else 0

    def _progress(self) -> Progress:
        job, council = self._job, self._council
        if council is None:
            return Progress(World(), job.path / "progress.jsonl", job.target, job.name, job.settled)
        return _SumOfShares(council, job)


class _SumOfShares(Progress):
    """The progress of all shares: shown by the client of the first one, which the others tell how far they are."""

    def __init__(self, council: Council, job: Job) -> None:
        super().__init__(council.world, job.path / "progress.jsonl", job.target, job.name, job.settled)
        self._council = council

    def update(self, done: int, **fields: Any) -> None:
        """Show the sum; figures that are rates are those of this share."""
        super().update(self._council.total(done), **fields)
