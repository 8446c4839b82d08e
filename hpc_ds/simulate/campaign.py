"""A session's work as the client does it: settle all samples of the design, one generation after the other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.progress import Progress
from hpc_ds.runtime.world import World
from hpc_ds.simulate.dispatch import Dispatch, Tally
from hpc_ds.simulate.generations import generations
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.ledger import FolderLedger
from hpc_ds.simulate.orders import Order
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
    """

    def __init__(self, job: Job, deadline: Deadline) -> None:
        self._job, self._deadline = job, deadline

    def __call__(self, cluster: Cluster) -> Tally:
        """Return what became of the samples; raises what `Dispatch.work_off` raises."""
        job = self._job
        if cluster.dashboard is not None:
            print(f"hpc-ds: Dask's dashboard: {cluster.dashboard}", file=sys.stderr, flush=True)
        ledger = FolderLedger(job.path, job.session)
        with Progress(World(), job.path / "progress.jsonl", job.target, job.name, job.settled) as progress:
            template = Order(
                job.folder, job.session, (), job.settings.sample_limit, None, 0.0, job.settings.retries
            )
            dispatch = Dispatch(
                cluster, template, job.block, ledger, self._deadline, progress, job.settled, run_order
            )
            for indices in generations(job, ledger):
                if not dispatch.work_off(indices):
                    break
        return dispatch.tally
