"""Ten times a job is struck at a random moment, in every way that a cluster has; the answer does not show it."""

import random
import time

import pytest

SEED = 20
WAYS = ("scancel", "node set down", "power cut", "SIGKILL of a rank", "SIGKILL of all ranks")


def snapshots(out):
    return max((int(path.stem.partition("-")[2]) for path in out.glob("snapshots/snapshot-*.bin")), default=0)


def strike(slurm, way, number, chance):
    """Strike job `number`, which runs on both nodes, and mend what is broken."""
    node = chance.choice(("node1", "node2"))
    if way == "scancel":
        slurm.run("scancel", number)
    elif way == "node set down":
        slurm.lose(node)
    elif way == "power cut":
        slurm.power_off(node)
        slurm.until(
            lambda: "down" in slurm.node_states() or not slurm.running([number]), 60, f"{node} is missed"
        )
        slurm.power_on(node)
    else:
        slurm.kill_ranks(number, *((0, 1) if way.endswith("all ranks") else (chance.randrange(2),)))


def await_moment(slurm, out, links, chance):
    """Wait for a random moment of a job of the chain; return its number, None if the chain is over before."""
    slurm.until(lambda: slurm.running(links) or slurm.over(links), 120, "a link runs")
    if chance.random() < 0.25:
        time.sleep(chance.uniform(0.0, 4.0))  # while it starts
    else:
        wanted = snapshots(out) + chance.randint(1, 6)
        slurm.until(lambda: snapshots(out) >= wanted or slurm.over(links), 240, "snapshots are written")
        time.sleep(chance.uniform(0.0, 0.2))
    return slurm.running(links)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_answer_is_that_of_an_uninterrupted_run(slurm, submit, line, uninterrupted, tmp_path):
    chance = random.Random(SEED)
    ways = [*WAYS, *WAYS]
    chance.shuffle(ways)
    out, links, struck = tmp_path / "run", [], []
    while not links or not slurm.over(links) or "done" not in slurm.run("hpc-ds", "status", out).stdout:
        if not links or slurm.over(links):  # as a user would who finds the chain used up
            options = ("--nodes", 2, "--ranks-per-node", 1, "--time", "30:00", "--chain", 4)
            links = submit(*options, command=line.command(out), pause=0.012, machine="hasty")
        number = await_moment(slurm, out, links, chance)
        if number is not None and ways:
            struck.append((number, ways[-1], snapshots(out)))
            strike(slurm, ways.pop(), number, chance)
        elif not ways:
            slurm.await_end(links, 600)
    assert not ways, f"the run was over after {len(struck)} strikes: {struck}"
    assert line.answer(out) == uninterrupted
