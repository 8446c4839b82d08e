"""Use a cluster in one way and print what is found as JSON: `python use.py FOLDER WAY [SETTING=VALUE ...]`."""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import psutil

from hpc_ds.runtime.deadline import Deadline
from hpc_ds.runtime.leaving import guarded
from hpc_ds.runtime.world import get_world, install_abort_hook
from hpc_ds.simulate import supervisor
from hpc_ds.simulate.cluster import run_on_cluster
from hpc_ds.simulate.job import Job
from hpc_ds.simulate.settings import ClusterSettings

MPI = []  # what MPI itself listens on
DEADLINE = Deadline(None, environ={})


def square(i):
    return i * i, os.getpid(), os.getppid()


def die(flag):
    """Kill the worker that runs this, the first time."""
    if not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def compute(cluster):
    wait_for_slots(cluster, get_world().size)
    futures = [cluster.client.submit(square, i, pure=False) for i in range(20)]
    answers = [future.result() for future in futures]
    return {
        "squares": [answer for answer, _, _ in answers],
        "workers": len({pid for _, pid, _ in answers}),
        "supervisors": len({parent for _, _, parent in answers}),
    }


def lose_a_worker(cluster):
    wait_for_slots(cluster, get_world().size)
    lost = cluster.client.submit(die, str(FOLDER / "died"), key="dies")
    start = time.monotonic()
    error = lost.exception()
    took = time.monotonic() - start
    back = wait_for_slots(cluster, get_world().size)
    return {"error": type(error).__name__, "quickly": took < 5, "back": back, **compute(cluster)}


def lose_a_result(cluster):
    """Kill a worker that holds a result that nobody has fetched: it is not computed again."""
    log = str(FOLDER / "computed")
    future = cluster.client.submit(append, log, key="result")
    while future.status != "finished":
        time.sleep(0.01)
    os.kill(int(Path(log).read_text()), signal.SIGKILL)
    while future.status == "finished":
        time.sleep(0.01)
    wait_for_slots(cluster, 1)
    time.sleep(0.5)
    return {"status": future.status, "times": len(Path(log).read_text().splitlines())}


def lose_a_result_on_its_way(cluster):
    """Ask for the result in the moment in which its worker dies."""
    log = str(FOLDER / "computed")
    future = cluster.client.submit(append, log, key="result")
    while future.status != "finished":
        time.sleep(0.01)
    os.kill(int(Path(log).read_text()), signal.SIGKILL)
    try:
        future.result(timeout=20)
    except BaseException as error:
        return {"error": type(error).__name__, "times": len(Path(log).read_text().splitlines())}
    return {}


def append(log):
    with open(log, "a") as file:
        file.write(f"{os.getpid()}\n")


def fail(cluster):
    raise ValueError("the drive failed")


def hang(cluster):
    wait_for_slots(cluster, get_world().size)
    say(up=True)
    while DEADLINE.reason() is None:
        cluster.slots()
        time.sleep(0.02)
    return {"reason": DEADLINE.reason()}


def report_trouble(cluster):
    while cluster.trouble() is None:
        time.sleep(0.02)
    return {"trouble": cluster.trouble()}


def look_at_sockets(cluster):
    """List what listens in this process and below it, and try to get in without the keys."""
    wait_for_slots(cluster, get_world().size)
    from distributed import Client, Security

    address = cluster.client.scheduler.address
    strangers = {}
    for name, target, security in (
        ("other keys", address, Security.temporary()),
        ("no keys", address.replace("tls", "tcp"), Security(require_encryption=False)),
    ):
        try:
            Client(target, security=security, timeout=2, set_as_default=False).close()
            strangers[name] = "came in"
        except OSError as error:
            strangers[name] = type(error).__name__
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [address for address in listeners(processes) if address not in MPI]
    known = {address.rpartition(":")[2], *(w.rpartition(":")[2] for w in cluster.client.nthreads())}
    return {
        "strangers": strangers,
        "hosts": sorted({host for host, _ in listening}),
        "others": [port for _, port in listening if str(port) not in known],
        "scratch": [str(path) for path in Path(tempfile.gettempdir()).iterdir() if path.name != "ompi"],
        "secrets": [name for name in shown(processes) if "PRIVATE" in name],
    }


def listeners(processes):
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            sockets = process.net_connections(kind="inet")
            found += [tuple(socket.laddr) for socket in sockets if socket.status == psutil.CONN_LISTEN]
    return found


def shown(processes):
    """Return what other users could see of the processes: arguments, and for one's own account the environment."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            yield " ".join([*process.cmdline(), *process.environ().values()])


def wait_for_slots(cluster, wanted):
    if SETTINGS.launcher == "dask-mpi":
        wanted -= 2
    end = time.monotonic() + 60
    while cluster.slots() < wanted:
        assert time.monotonic() < end, f"{cluster.slots()} of {wanted} workers, trouble: {cluster.trouble()}"
        time.sleep(0.02)
    return True


def say(**what):
    print(json.dumps(what), flush=True)


def main():
    world = get_world()
    install_abort_hook(world)
    if WAY == "report_trouble":
        supervisor.COMMAND = (sys.executable, "-c", "raise SystemExit('no such library')")
    MPI.extend(listeners([psutil.Process()]))
    job = Job(str(FOLDER), "session", "none", None, 1, 1, 0, 1)
    with DEADLINE:
        found = run_on_cluster(world, SETTINGS, job, globals()[WAY], DEADLINE)
    if world.is_root:
        say(**found)
    assert world.is_root or found is None


if __name__ == "__main__":
    FOLDER, WAY = Path(sys.argv[1]), sys.argv[2]
    SETTINGS = ClusterSettings(**dict(word.split("=") for word in sys.argv[3:]))
    sys.exit(guarded(main))
