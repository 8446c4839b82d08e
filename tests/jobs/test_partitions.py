"""What a SLURM cluster says of itself goes where no table knows."""

import pytest

from hpc_ds.jobs.machines import machine
from hpc_ds.jobs.partitions import informed, read_cores, read_partitions

SAID = (
    "PartitionName=cpu AllowGroups=ALL Default=YES MaxNodes=UNLIMITED MaxTime=2-00:00:00 MinNodes=0 TotalNodes=12\n"
    "PartitionName=long Default=NO MaxNodes=4 MaxTime=UNLIMITED MinNodes=2 State=UP TotalNodes=12\n"
)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Return a function that makes scontrol and sinfo say something."""

    def say(partitions, nodes):
        for name, text in (("scontrol", partitions), ("sinfo", nodes)):
            (tmp_path / name).write_text(f"#!/bin/sh\ncat <<'E'\n{text}\nE\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return say


def test_partitions_have_their_limits_and_a_default():
    queues, default = read_partitions(SAID)
    assert default == "cpu"
    assert (queues["cpu"].fewest, queues["cpu"].most_nodes(), queues["cpu"].longest(12)) == (
        1,
        12,
        "2-00:00:00",
    )
    assert (queues["long"].fewest, queues["long"].most_nodes()) == (2, 4)


def test_cores_are_those_of_the_smallest_node():
    assert read_cores("2 24\n1 16+\n") == 16
    assert read_cores("") is None


def test_a_cluster_that_answers_fills_the_table(cluster):
    cluster(SAID, "2 24")
    found = informed(machine("slurm"), "long")
    assert (sorted(found.queues), found.queue, found.cores) == (["cpu", "long"], "cpu", 48)


def test_no_answer_changes_nothing(cluster, tmp_path):
    cluster("", "")
    assert informed(machine("slurm"), "").cores is None
    (tmp_path / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    assert informed(machine("slurm"), "").queues == {}
    assert informed(machine("fugaku"), "") == machine("fugaku")
