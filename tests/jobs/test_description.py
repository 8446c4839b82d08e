"""Jobs that a machine cannot take are refused in one line, with what would be right."""

import pytest

from hpc_ds.jobs.cost import cost
from hpc_ds.jobs.machines import Group, machine
from hpc_ds.runtime.errors import InputError

LIMITED = machine("slurm").model_copy(update={"groups": {"small": Group(nodes=2, queues=("a", "b"))}})

REFUSED = {
    "time over the queue's": ("fugaku", {"group": "g", "seconds": 300_000.0}, "72:00:00"),
    "time that depends on nodes": ("genkai-a", {"nodes": 4, "seconds": 180_000.0}, "at most 48:00:00"),
    "too many nodes": ("fugaku", {"group": "g", "nodes": 385}, "--queue large would take them"),
    "too few nodes": ("fugaku", {"group": "g", "nodes": 3, "queue": "large"}, "takes 385 to 12288"),
    "nodes over the group's": (
        "slurm",
        {"machine": LIMITED, "group": "small", "nodes": 3},
        "group small may use 2",
    ),
    "queue not the group's": ("fugaku", {"group": "trial"}, "may use spot-small, spot-large"),
    "no group": ("fugaku", {}, "--group: fugaku takes no job without one"),
    "a group that cannot": ("fugaku", {"group": "fugaku"}, "cannot submit"),
    "an unknown queue": ("wisteria-o", {"group": "g", "queue": "regular"}, "did you mean 'regular-o'"),
    "more ranks than cores": ("fugaku", {"group": "g", "ranks_per_node": 49}, "has 48"),
    "more threads than cores": (
        "fugaku",
        {"group": "g", "ranks_per_node": 4, "threads": 13},
        "need 52 cores",
    ),
    "more nodes than there are": ("flow", {"nodes": 2305}, "flow has 2304"),
    "too long a chain": ("wisteria-o", {"group": "g", "chain": 9}, "takes 8 jobs"),
    "a strange name": ("slurm", {"name": "1 job"}, "--name"),
    "a strange queue": ("slurm", {"queue": "cpu\u2013a"}, "--queue"),
    "requeue elsewhere": ("pjm", {"requeue": True, "chain": 2}, "only SLURM"),
    "requeue of a sweep": ("slurm", {"requeue": True, "sweep": ["seed=1,2"]}, "not with --sweep"),
    "staging nothing": ("slurm", {"stage_venv": True}, "--venv"),
    "no node": ("slurm", {"nodes": 0}, "--nodes 0"),
    "more nodes than one here": ("local", {"nodes": 2}, "--nodes 2: local has 1"),
    "no link": ("slurm", {"chain": 0}, "--chain 0"),
    "thousands of links": ("slurm", {"chain": 5000}, "--chain 5000"),
    "a time that SLURM reads as no limit": ("slurm", {"seconds": 0.2}, "less than a second"),
    "requeue without a number": ("slurm", {"requeue": True}, "--chain 5"),
    "side by side, but nothing to": ("slurm", {"at_once": 3}, "--sweep"),
    "LLIO elsewhere": ("slurm", {"llio": "localtmp-size=10Gi"}, "--llio: for machines with PJM"),
    "volumes elsewhere": (
        "miyabi-c",
        {"group": "g", "volumes": ("/vol1",)},
        "--volume: for machines with PJM",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, make):
    where, given, told = REFUSED[case]
    with pytest.raises(InputError) as error:
        make(where, **given)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_the_machine_s_queue_is_taken_where_none_is_asked_for(make):
    assert make("fugaku", group="g").queue == "small"


def test_cost_is_nodes_times_hours_times_links_times_jobs(make):
    assert cost(make("slurm", nodes=96, seconds=21600.0)).total == 576.0
    found = cost(make("slurm", nodes=4, seconds=7200.0, chain=5, sweep=["seed=1,2,3"]))
    assert (found.one, found.total) == (8.0, 120.0)
    assert found.lines() == [
        "cost: at most 8 node-hours a job, at most 120 node-hours in all (5 links x 3 jobs of the sweep); "
        "what is done early costs less"
    ]


def test_a_queue_that_charges_more_costs_more(make):
    job = make("wisteria-o", group="g", queue="priority-o", nodes=2, seconds=3600.0)
    assert cost(job).one == 3.0


def test_notice_and_grace_leave_short_jobs_most_of_their_time(make):
    assert [
        (make("slurm", seconds=s).told_before, make("slurm", seconds=s).grace) for s in (7200.0, 240.0, 20.0)
    ] == [
        (120, 60),
        (60, 24),
        (5, 2),
    ]


def test_jobs_of_a_sweep_are_held_back_where_the_machine_limits_submissions(make):
    sweep = ["seed=" + ",".join(map(str, range(20)))]
    assert make("slurm", sweep=sweep, at_once=3).tasks == 20  # SLURM itself lets three run at a time
    assert make("wisteria-o", group="g", sweep=sweep).tasks == 8
    assert make("wisteria-o", group="g", sweep=sweep, chain=4).tasks == 2
    assert make("pjm", sweep=sweep, at_once=3).tasks == 3
    assert make("local", sweep=sweep).tasks == 1
