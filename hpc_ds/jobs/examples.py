"""The scripts of jobscripts/, one for each engine and study, in SLURM's language and PJM's.

``python -m hpc_ds.jobs.examples`` in the repository writes them anew; a test keeps them equal to what this module says.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from hpc_ds.jobs import pjm, slurm
from hpc_ds.jobs.description import Job, make_job, span
from hpc_ds.jobs.machines import Machine, machine
from hpc_ds.jobs.words import joined
from hpc_ds.runtime import atomic


@dataclass(frozen=True)
class Example:
    """A command, and what of a cluster it is given."""

    purpose: str
    command: str
    nodes: int
    ranks_per_node: int
    time: str
    chain: int = 1


EXAMPLES = {
    "simulate": Example(
        "a training set of 10,000 Navier-Stokes flows",
        "simulate navier-stokes --samples 10000 --out data/navier-stokes",
        4,
        48,
        "6:00:00",
    ),
    "learn": Example(
        "a Fourier neural operator; the ranks are a power of two that divides --lanes",
        "learn fno data/navier-stokes --epochs 200 --lanes 16 --out runs/fno",
        4,
        4,
        "12:00:00",
    ),
    "infer": Example(
        "posterior and evidence of 1 to 6 peaks in a spectrum of your own",
        "infer spectrum data.csv --peaks 1:6 --copies 4 --draws 100000 --out runs/peaks",
        2,
        48,
        "2:00:00",
    ),
    "spectrum": Example(
        "the study of Nagata, Sugita & Okada (2012) at its published size",
        "run spectrum --scale full --out runs/spectrum",
        1,
        48,
        "1:00:00",
    ),
    "neutron-star": Example(
        "the neutron-star study, all three engines, in a chain of jobs",
        "run neutron-star --scale full --out runs/neutron-star",
        96,
        48,
        "6:00:00",
        chain=4,
    ),
    "noise-copies": Example(
        "the study of many copies of a spectrum with fresh noise",
        "run noise-copies --scale full --out runs/noise-copies",
        8,
        48,
        "6:00:00",
        chain=2,
    ),
}
"""Every script by its name."""

_PLACES = {"slurm": ("slurm", "cpu", ""), "pjm": ("fugaku", "small", "hp000000")}


def scripts() -> dict[str, str]:
    """Return the text of every script by its path below jobscripts/, such as ``slurm/infer.sh``."""
    return {f"{dialect}/{name}.sh": _script(dialect, name) for dialect in _PLACES for name in EXAMPLES}


def write(folder: Path) -> list[Path]:
    """Write all scripts below `folder` and return their paths."""
    written = []
    for name, text in scripts().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(path, text)
        path.chmod(0o755)
        written.append(path)
    return written


def _script(dialect: str, name: str) -> str:
    example, (place, queue, group) = EXAMPLES[name], _PLACES[dialect]
    job = _job(example, machine(place), name, queue, group)
    text = slurm.render(job) if dialect == "slurm" else pjm.render(job)
    head, _, rest = text.partition("\n")
    return "\n".join([head, *_manual(job, example, dialect, name), rest])


def _job(example: Example, where: Machine, name: str, queue: str, group: str) -> Job:
    command = ("hpc-ds", *example.command.split())
    return make_job(
        {
            "command": command,
            "machine": where,
            "workdir": Path(),
            "folder": Path(f"{command[-1]}.jobs/1"),
            "nodes": example.nodes,
            "ranks_per_node": example.ranks_per_node,
            "seconds": span(example.time),
            "queue": queue,
            "group": group,
            "name": name,
            "chain": example.chain,
            "venv": ".venv",
            "volumes": ("/vol0004",) if where.volumes else (),
        }
    )


def _manual(job: Job, example: Example, dialect: str, name: str) -> list[str]:
    """Return the comment that says how the script is used, and how it would be written for one's own place."""
    module = slurm if dialect == "slurm" else pjm
    own = [
        "--machine",
        job.machine.name,
        "--queue",
        job.queue,
        *(["--group", job.group] if job.group else []),
    ]
    own += ["--nodes", str(job.nodes), "--ranks-per-node", str(job.ranks_per_node), "--time", example.time]
    own += ["--chain", str(job.chain)] if job.chain > 1 else []
    text = f"{example.purpose[0].upper()}{example.purpose[1:]}. Change queue, group and sizes, or have it written:"
    lines = [f"# {line}" for line in wrap(text, 110)]
    lines += [
        f"#     hpc-ds submit {joined(own)} -- {joined(job.command)}",
        "# By hand, where hpc-ds was set up:",
    ]
    lines += [f"#     rm -f {job.folder}/ended/*"] if job.chain > 1 else []
    lines += [f"#     mkdir -p {job.folder}"]
    path = f"jobscripts/{dialect}/{name}.sh"
    for link in range(1, min(job.links, 2) + 1):
        lines += [f"#     {joined(module.command(job, path, link, '' if link == 1 else 'ID'))}"]
    lines += (
        [f"# and so on to link {job.links}; ID is what the command before printed."] if job.links > 1 else []
    )
    return [*lines, "#"]


if __name__ == "__main__":
    for written_path in write(Path(*sys.argv[1:2] or ["jobscripts"])):
        print(written_path)
