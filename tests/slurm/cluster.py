"""A SLURM of two nodes on this machine, private to the tests: own configuration, ports, credentials and processes."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("node1", "node2")
SYSTEM = ":/usr/local/sbin:/usr/sbin:/sbin"
OVER = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY", "BOOT_FAIL"}

# cred_expire: a requeued job waits that long, 5 s at least (less counts as the default of two minutes).
# EnforcePartLimits: what can never run is refused at submission. KillWait: from SIGTERM to SIGKILL.
# MpiDefault=none: without --mpi each rank would be alone, as on many clusters.
# TmpFS: PMIx keeps a folder for each step there, and the two nodes must not share it.
CONFIGURATION = """\
ClusterName=hpc-ds-tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge-{me}/socket,cred_expire=5
DebugFlags=NO_CONF_HASH
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
TmpFS={folder}/tmp-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
TaskProlog={folder}/task-prolog
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,builtin_interval=2,sched_interval=2
SlurmdParameters=config_overrides
EnforcePartLimits=ALL
ReturnToService=2
MpiDefault=none
SlurmdTimeout=15
KillWait=3
MinJobAge=86400
MailProg=/bin/true
NodeName=DEFAULT CPUs=2 CoresPerSocket=2 RealMemory=8000
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
PartitionName=one Nodes=ALL MaxNodes=1 MaxTime=2 State=UP
"""

# Both nodes are this machine: Open MPI's shared memory of one would collide with the other's, and ranks that wait must
# leave the core to those that work.
TASK_PROLOG = """\
#!/bin/sh
echo export OMPI_MCA_mpi_yield_when_idle=1
echo export OMPI_MCA_btl_vader_backing_directory={folder}/tmp-$SLURMD_NODENAME
"""


def absent() -> str:
    """Return why there can be no such cluster here, nothing if there can be one."""
    if os.geteuid() != 0:
        return "needs root: the daemons of SLURM start processes for others"
    missing = [name for name in DAEMONS + CLIENTS if not where_is(name)]
    if missing:
        return f"needs {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    plugins = subprocess.run(["srun", "--mpi=list"], capture_output=True, text=True, env=bare(os.environ))
    if plugins.returncode == 0 and "pmix" not in plugins.stdout + plugins.stderr:
        return "needs SLURM's PMIx plugin (srun --mpi=list)"
    return ""


def where_is(name: str) -> str | None:
    """Return the path of a command; daemons lie outside the PATH of many users."""
    return shutil.which(name, path=os.environ.get("PATH", "") + SYSTEM)


def bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the traces of another SLURM, inside whose job the tests may run."""
    prefixes = ("SLURM", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_", "SALLOC_", "SINFO_")
    return {name: value for name, value in environment.items() if not name.startswith(prefixes)}


class Cluster:
    """Two nodes of two cores, each with a slurmd and a munged of its own, and one controller.

    Each node has its own munged because that refuses a message that it has read before, and both slurmd get the
    same messages.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hpc-ds-slurm-", dir="/tmp"))  # munge: short, open to all
        self.folder.chmod(0o755)
        self.environment = {**bare(environment), "SLURM_CONF": str(self.folder / "node1.conf")}
        self.daemons: dict[str, int] = {}
        keeper = [sys.executable, str(HERE / "keeper.py"), str(self.folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
        self._keeper = subprocess.Popen(keeper, env=self.environment, **pipes)

    # ---- daemons ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all daemons and wait until the nodes are idle."""
        self._write_files()
        for node in NODES:
            self._start_munged(node)
        self.start_daemon("slurmctld")
        for node in NODES:
            self.start_daemon(node)
        self.until(lambda: self.node_states() == {"idle"}, 30, "nodes become idle")

    def start_daemon(self, name: str) -> None:
        """Start slurmctld, or the slurmd of a node by the node's name."""
        node = name if name in NODES else "node1"
        words = ["slurmctld", "-D"] if name == "slurmctld" else ["slurmd", "-D", "-N", name]
        self._keep(name, words, SLURM_CONF=str(self.folder / f"{node}.conf"))

    def power_off(self, node: str) -> None:
        """Kill all that runs on a node at once: its slurmd, the keepers of its steps, the processes of jobs."""
        os.kill(self.daemons.pop(node), signal.SIGKILL)
        inhabitants = self.processes(SLURMD_NODENAME=node)
        for pid in {*inhabitants, *(parent_of(pid) for pid in inhabitants)}:
            if b"slurmstepd" in read(pid, "cmdline") or pid in inhabitants:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def lose(self, node: str) -> None:
        """Let the operator take a node down, whatever runs there, and give it back at once."""
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        self.run("scontrol", "update", f"nodename={node}", "state=resume")  # refused if it is back by itself
        self.until(lambda: not {"down", "down*"} & self.node_states(), 30, f"{node} is back")

    def power_on(self, node: str) -> None:
        """Boot a node that was cut off: what lay in its memory is gone."""
        shutil.rmtree(self.folder / f"tmp-{node}")
        (self.folder / f"tmp-{node}").mkdir()
        for left in (self.folder / node).glob("*pmix.*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self.start_daemon(node)

    def processes(self, **variables: str) -> list[int]:
        """Return the processes of jobs that have these variables in their environment."""
        wanted = {f"{name}={value}".encode() for name, value in variables.items()}
        ours = f"SLURM_CONF={self.folder}/".encode()
        found = []
        for pid in (int(entry.name) for entry in Path("/proc").glob("[0-9]*")):
            environment = read(pid, "environ").split(b"\0")
            if wanted <= set(environment) and any(word.startswith(ours) for word in environment):
                found.append(pid)
        return found

    def kill_ranks(self, number: object, *ranks: int) -> None:
        """Send SIGKILL to some ranks of a job's steps."""
        for rank in ranks:
            for pid in self.processes(SLURM_JOB_ID=str(number), PMIX_RANK=str(rank)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """Cancel all jobs; end all daemons and whatever is left; the folder goes with them."""
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            self.clear()
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        self._keeper.wait(30)

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        ends = [
            (path.name, path.read_text(errors="replace").splitlines()) for path in self.folder.glob("*.log")
        ]
        return "\n".join(f"== {name}\n" + "\n".join(lines[-15:]) for name, lines in sorted(ends))

    # ---- commands of SLURM -------------------------------------------------------------------------------------

    def run(
        self, *words: object, timeout: float = 60, cwd: Path | None = None, **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on the login node, which is this machine."""
        return subprocess.run(
            [str(word) for word in words],
            cwd=cwd,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def ask(self, *words: object) -> str:
        """Run a command that must succeed, and return what it prints."""
        answer = self.run(*words)
        assert answer.returncode == 0, f"{words}: {answer.stderr}\n{self.logs()}"
        return answer.stdout

    def node_states(self) -> set[str]:
        """Return the states of the nodes; none while the controller does not answer."""
        return set(self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%T").stdout.split())

    def running(self, numbers: Sequence[str]) -> str | None:
        """Return the one of these jobs that runs."""
        return next((job["JobId"] for job in self.of(numbers) if job["JobState"] == "RUNNING"), None)

    def job(self, number: object) -> dict[str, str]:
        """Return what the controller knows of a job, ended ones included."""
        text = self.ask("scontrol", "show", "job", "-o", number)
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def log(self, number: object) -> str:
        """Return what a job has written so far."""
        path = Path(self.job(number)["StdOut"])
        return path.read_text() if path.exists() else ""

    def jobs(self) -> list[dict[str, str]]:
        """Return what the controller knows of all jobs, in the order of their numbers."""
        lines = self.ask("scontrol", "show", "job", "-o", "-a").splitlines()
        found = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines if line.startswith("JobId=")]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def of(self, numbers: Sequence[str]) -> list[dict[str, str]]:
        """Return what the controller knows of these jobs and, of arrays among them, of all tasks."""
        return [job for job in self.jobs() if job.get("ArrayJobId", job["JobId"]) in numbers]

    def over(self, numbers: Sequence[str]) -> bool:
        """Tell whether all jobs have ended."""
        return all(job["JobState"] in OVER for job in self.of(numbers))

    def await_end(self, numbers: Sequence[str], timeout: float) -> None:
        """Wait until all jobs have ended."""
        self.until(lambda: self.over(numbers), timeout, f"jobs {' '.join(numbers)} end")

    def clear(self) -> None:
        """Cancel what there is and wait until the nodes are idle again."""
        self.run("scancel", "-u", "root")
        self.until(lambda: not self.ask("squeue", "-h").strip(), 30, "no job is left")
        self.until(lambda: self.node_states() == {"idle"}, 30, "nodes are idle again")

    def until(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait until something holds; past `timeout` seconds fail, showing the queue and the logs."""
        end = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > end:
                queue = self.run("squeue", "-a").stdout
                raise AssertionError(f"not within {timeout} s: {what}\n{queue}{self.logs()}")
            time.sleep(0.1)

    # ---- helpers -----------------------------------------------------------------------------------------------

    def _write_files(self) -> None:
        for name in (
            "state",
            *NODES,
            *(f"tmp-{node}" for node in NODES),
            *(f"munge-{node}" for node in NODES),
        ):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(0o600)
        key.write_bytes(secrets.token_bytes(128))
        prolog = self.folder / "task-prolog"
        prolog.write_text(TASK_PROLOG.format(folder=self.folder))
        prolog.chmod(0o755)
        facts = {"folder": self.folder, "host": socket.gethostname().partition(".")[0]}
        facts["ports"] = free_ports(3)
        for node in NODES:
            (self.folder / f"{node}.conf").write_text(CONFIGURATION.format(**facts, me=node))

    def _start_munged(self, node: str) -> None:
        own = self.folder / f"munge-{node}"
        options = {"socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        files = [f"--{option}={own / name}" for option, name in options.items()]
        self._keep(f"munged-{node}", ["munged", "-F", f"--key-file={self.folder / 'munge.key'}", *files])
        self.until((own / "socket").exists, 10, f"munged of {node} listens")

    def _keep(self, name: str, words: list[str], **variables: str) -> None:
        order = {"words": [where_is(words[0]), *words[1:]], "log": str(self.folder / f"{name}.log")}
        order["environment"] = {**self.environment, **variables}
        assert self._keeper.stdin is not None and self._keeper.stdout is not None
        print(json.dumps(order), file=self._keeper.stdin, flush=True)
        self.daemons[name] = int(self._keeper.stdout.readline())


def read(pid: int, what: str) -> bytes:
    """Return a file of /proc, empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes()
    except OSError:
        return b""


def parent_of(pid: int) -> int:
    """Return the parent of a process, 0 if it is gone."""
    fields = read(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def free_ports(count: int) -> list[int]:
    """Return ports on which no one listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
