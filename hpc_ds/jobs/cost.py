"""What a job may cost at most, in node-hours."""

from __future__ import annotations

from dataclasses import dataclass

from hpc_ds.jobs.description import Job


@dataclass(frozen=True)
class Cost:
    """Node-hours: of one job up to its limit, and of all that are submitted."""

    one: float
    total: float
    links: int
    tasks: int

    def lines(self) -> list[str]:
        """Return the cost in words."""
        words = [f"cost: at most {_hours(self.one)} a job"]
        many = " x ".join(
            f"{number} {what}"
            for number, what in ((self.links, "links"), (self.tasks, "jobs of the sweep"))
            if number > 1
        )
        if many:
            words.append(f"at most {_hours(self.total)} in all ({many}); what is done early costs less")
        return [", ".join(words)]


def cost(job: Job) -> Cost:
    """Return the cost of a job, of its chain and of its sweep, weighed as its queue charges it."""
    queue = job.machine.queues.get(job.queue)
    one = job.nodes * job.seconds / 3600.0 * (queue.cost if queue else 1.0)
    return Cost(one, one * job.chain * job.tasks, job.chain, job.tasks)


def _hours(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".") + " node-hours"
