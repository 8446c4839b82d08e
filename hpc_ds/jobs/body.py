"""The body of a job script, the same for all schedulers: what to run, whether to, until when, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from hpc_ds.jobs.description import Job
from hpc_ds.jobs.sweep import Point, is_ours
from hpc_ds.jobs.words import joined, quote
from hpc_ds.runtime.deadline import MARGIN

KILLED = (9, 129, 130, 137, 138, 143, 152)
"""Exit codes of ranks that a signal ended: with them a chain goes on, as with 75 and with none at all."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


_SOURCED = ("# shellcheck source=/dev/null",)


@dataclass(frozen=True)
class Scheduler:
    """What the body needs to know of a scheduler, as shell text."""

    link: str
    """Which link of the chain this is, counted from 1."""

    task: str
    """Which task of a sweep, counted from 0."""

    end: tuple[str, ...]
    """Lines that set `end` to the end of the job, in seconds since 1970, empty if it does not say."""

    launch: tuple[str, ...]
    """The launcher's words, which are shell text already."""

    timer: bool
    """Whether the script must tell the time itself, because the scheduler gives no notice."""

    each_node: tuple[str, ...]
    """Words that run a command on each node, once or more often."""

    before: tuple[str, ...] = ()
    """Lines that run before the ranks start."""

    after: tuple[str, ...] = ()
    """Lines that run with their exit code in `code`."""


def script(job: Job, language: str, scheduler: Scheduler, directives: Sequence[str] = ()) -> str:
    """Return the text of a job script in the language of its scheduler, all links and all points of it."""
    head = ["#!/bin/bash", *headline(job, language), *directives]
    return "\n".join([*head, "", *body(job, scheduler)]) + "\n"


def body(job: Job, scheduler: Scheduler) -> list[str]:
    """Return the lines of the script that follow the directives."""
    parts = [
        _place(job, scheduler),
        _what(job),
        _whether(job),
        _environment(job),
        _until(job, scheduler),
        _signals(job, scheduler),
        _staging(job, scheduler),
        list(scheduler.before),
        _launch(job, scheduler),
        _end(job, scheduler),
    ]
    return list(chain.from_iterable([*part, ""] for part in parts if part))[:-1]


def headline(job: Job, language: str) -> list[str]:
    """Return the comment at the head of a script: what it runs, and what of it nobody has verified."""
    size = f"{counted(job.nodes, 'node')}, {counted(job.ranks_per_node, 'rank')} a node"
    size += f", {counted(job.threads, 'thread')} a rank"
    lines = [
        f"# {job.name}: {size}; {language} script by hpc-ds submit for {job.machine.title or job.machine.name}."
    ]
    if job.venv and job.machine.architecture == "aarch64":
        lines += [
            f"# Compute nodes are aarch64: {job.venv} must have been made on one of them, not on a login node."
        ]
    return lines + [f"# Not verified on the machine: {doubt}" for doubt in doubts(job)]


def doubts(job: Job) -> list[str]:
    """Return what this job relies on that nobody has verified, a line each."""
    used = ["dialect", "launcher", "directives", "environment", "volumes", "mpi", f"queues.{job.queue}"]
    used += [f"groups.{job.group}"] if job.group in job.machine.groups else []
    used += ["step_end"] if job.chain > 1 else []
    used += ["max_submitted"] if job.chain > 1 or job.sweep else []
    used += ["staging", "local_storage"] if job.stage_venv else []
    return job.machine.doubts(*used)


def further_directives(job: Job) -> list[str]:
    """Return the directives that the machine's table and the user add, without the scheduler's mark."""
    sizes = {"threads": job.threads, "nodes": job.nodes, "ranks": job.ranks}
    return [*(text.format(**sizes) for text in job.machine.directives), *job.directives]


def mpiexec(job: Job) -> tuple[str, ...]:
    """Return the words that start all ranks by the machine's mpiexec, as shell text."""
    return ("mpiexec", "-n", str(job.ranks), *launcher_options(job))


def launcher_options(job: Job) -> list[str]:
    """Return the machine's words for the launcher, as shell text."""
    return [quote(word.replace("{logs}", str(job.folder))) for word in job.machine.launcher_options]


def counted(number: int, what: str) -> str:
    """Return a number of things in words: ``1 node``, ``4 nodes``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _place(job: Job, scheduler: Scheduler) -> list[str]:
    lines = [
        *([f"cd {quote(str(job.workdir))} || exit 1"] if job.workdir != Path() else []),
        f"job={quote(str(job.folder))}",
        'mkdir -p "$job/ended"',
    ]
    lines += [f"link={scheduler.link} links={job.chain}"] if job.chain > 1 or job.sweep else []
    if job.stage_venv and job.machine.staging == "tar":
        lines += [f"staged={job.machine.local_storage}/hpc-ds-{job.name}-$$"]
    return [*lines, "say() { printf 'hpc-ds job: %s\\n' \"$*\" >&2; }"]


def _what(job: Job) -> list[str]:
    """Return the lines that set `command`, and `out`, the run folder; for a sweep a function of the point."""
    if not job.sweep:
        return ["# What to run.", *_chosen(job, job.points[0])]
    lines = ["# What to run, point by point of the sweep, and the run folders that it writes.", "choose() {"]
    lines += ["    case $1 in"]
    for index, point in enumerate(job.points):
        lines += [f"    {index}) # {point.label}"]
        lines += [f"        {line}" for line in _chosen(job, point)]
        lines += ["        ;;"]
    return [*lines, "    esac", "}"]


def _chosen(job: Job, point: Point) -> list[str]:
    command = joined(point.command)
    if job.stage_venv and job.machine.staging == "tar" and is_ours(point.command):
        # The first line of a staged bin/hpc-ds names the interpreter that was left behind.
        command = f'python "$staged/bin/hpc-ds" {joined(point.command[1:])}'
    lines = [f"command=({command})"]
    return [*lines, f"out={quote(point.out or '')}"] if job.chain > 1 or job.sweep else lines


def _whether(job: Job) -> list[str]:
    """Return a function that tells whether the point needs no more work, and with which exit code then."""
    codes = " | ".join(["''", "75", *map(str, KILLED)])
    if job.chain == 1 and not job.sweep:
        return ["# What became of it: an exit code, left out if the job is killed.", "record=$job/ended/0"]
    return [
        'is_done() { [ "$out/state.json" -nt "$job/job.sh" ] && grep -qs \'"state": *"done"\' "$out/state.json"; }',
        "# Nothing is left to do when the run folder says done since the submission, or when an earlier link ended",
        "# with an exit code that means neither 'again' (75) nor 'killed' (none, or a signal's).",
        "settled() {",
        "    local before",
        "    record=$job/ended/$1",
        '    before=$(cat "$record" 2>/dev/null)',
        '    if is_done; then code=0; say "$out is done: nothing left for link $link of $links"; return 0; fi',
        "    case $before in",
        f"        {codes}) return 1 ;;",
        '        0 | 3) code=$before; say "done with exit code $before: nothing left for link $link of $links" ;;',
        '        *) code=$before; say "an earlier link failed with exit code $before, so the chain ends here:"',
        '           say "see its log, mend the cause and give the same hpc-ds submit again" ;;',
        "    esac",
        "}",
        *([] if job.sweep else ['if settled 0; then exit "$code"; fi', 'rm -f "$record"']),
    ]


def _environment(job: Job) -> list[str]:
    """Return modules, the user's lines, the virtual environment, threads and caches."""
    lines = [f"module load {quote(name)} || exit 1" for name in (*job.machine.module_lines, *job.modules)]
    lines += [*job.machine.setup, *job.setup]
    if job.venv and not job.stage_venv:
        lines += [*_SOURCED, f". {quote(job.venv + '/bin/activate')}"]
    lines += [f"export {' '.join(f'{name}={job.threads}' for name in _THREADS)}"]
    if job.threads > 1:
        lines += ["export OMP_PROC_BIND=close OMP_PLACES=cores"]
    lines += [f"export {name}={quote(value)}" for name, value in job.machine.environment.items()]
    lines += [
        "# Compiled kernels are kept where compute nodes may write, also where they do not see the home folder."
    ]
    cache = quote(str(job.folder.parent / "cache"))
    cache = cache if job.folder.is_absolute() else f'"$PWD"/{cache}'
    lines += [f"export XDG_CACHE_HOME={cache}", "export MPLCONFIGDIR=$XDG_CACHE_HOME/matplotlib"]
    lines += ['mkdir -p "$MPLCONFIGDIR"']
    return ["# Environment.", *lines]


def _until(job: Job, scheduler: Scheduler) -> list[str]:
    lines = ["# When the job ends: hpc-ds saves and stops before, with exit code 75.", *scheduler.end]
    lines += [f'[ -n "$end" ] || end=$(($(date +%s) + {int(job.seconds)}))'] if scheduler.end else []
    lines += [] if scheduler.end else [f"end=$(($(date +%s) + {int(job.seconds)}))"]
    shift = int(MARGIN) - job.grace
    if shift > 0:
        lines += [
            f"# hpc-ds stops {MARGIN:.0f} s before HPC_DS_DEADLINE; in so short a job it may work {shift} s longer."
        ]
        return [*lines, f"export HPC_DS_DEADLINE=$((end + {shift}))"]
    return [*lines, "export HPC_DS_DEADLINE=$end"]


def _signals(job: Job, scheduler: Scheduler) -> list[str]:
    goes_on = job.chain > 1 or bool(job.sweep)
    tell = 'stop=1 interrupted=1; [ -z "$ranks" ] || kill -USR1 "$ranks" 2>/dev/null'
    lines = [
        "# Notice comes to this shell alone. bash runs a trap only between commands or during wait: the ranks run in",
        "# the background, hear of it from here (SIGUSR1: save and stop), and are waited for once more.",
        f"ranks='' stop=0 interrupted=0{' cancelled=0' if goes_on else ''}",
        f"trap '{tell}' USR1{' XCPU' if scheduler.timer else ''}",
        f"trap '{'cancelled=1 ' if goes_on else ''}{tell}' TERM",
    ]
    if not scheduler.timer:
        return lines
    return [
        *lines,
        "# No notice comes from outside in time (PJM: SIGXCPU at the limit, SIGKILL 10 s later): a clock of the",
        f"# script's own tells the time {job.told_before} s before.",
        "clock() {",
        "    trap 'kill \"$nap\"; exit' TERM",
        '    sleep "$1" & nap=$!',
        '    wait "$nap" && kill -USR1 $$',
        "}",
        f"clock {max(1, int(job.seconds) - job.told_before)} & timer=$!",
        "trap 'kill \"$timer\" 2>/dev/null' EXIT",
    ]


def _staging(job: Job, scheduler: Scheduler) -> list[str]:
    """Return the lines that bring the virtual environment to the nodes' own storage."""
    if not job.stage_venv:
        return []
    lines = [
        "# Python from storage of each node's own: thousands of ranks that import it from a shared disk stop that disk."
    ]
    if job.machine.staging == "dir_transfer":
        log = "$job/dir_transfer"
        lines += [
            f'mkdir -p "{log}"',
            f'/home/system/tool/dir_transfer -l "{log}" {quote(job.venv)} || exit 1',
        ]
        return [*lines, *_SOURCED, f". {quote(job.venv + '/bin/activate')}"]
    # Whoever makes the folder unpacks: launchers differ in where they put fewer ranks than there are places.
    unpack = "\"if mkdir '$staged' 2>/dev/null; then tar -xf '$job/venv.tar' -C '$staged'; else test -d '$staged'; fi\""
    leaving = [*scheduler.each_node, 'rm -rf "$staged"']
    clock = 'kill "$timer" 2>/dev/null; ' if scheduler.timer else ""
    return [
        *lines,
        f"trap '{clock}{' '.join(leaving)}' EXIT",
        " ".join([*scheduler.each_node, f"bash -c {unpack} || exit 1"]),
        'export PATH="$staged/bin:$PATH"',
    ]


def _launch(job: Job, scheduler: Scheduler) -> list[str]:
    lines = _folded([*scheduler.launch, '"${command[@]}"'], width=100)
    if scheduler.timer:
        # Not only the ranks: SIGXCPU would end the launcher, and with it the ranks while they save.
        lines[0] = f"(trap '' XCPU; exec {lines[0]}"
        lines[-1] += ")"
    lines[-1] += " &"
    believed = [
        "    # Launchers may say 0 of ranks that were cancelled or lost a node: the run folder knows better.",
        '    if [ "$code$cancelled" = 01 ] && ! is_done; then code=143; fi',
    ]
    if job.chain == 1 and not job.sweep:
        believed = []
    return [
        "launch() {",
        *(f"    {line}" for line in lines),
        "    ranks=$!",
        '    [ "$stop" = 0 ] || kill -USR1 "$ranks" 2>/dev/null',
        "    while :; do",
        "        interrupted=0",
        '        wait "$ranks"',
        "        code=$?",
        '        [ "$interrupted" = 1 ] || break',
        "    done",
        "    ranks=",
        *believed,
        '    echo "$code" >"$record"',
        "}",
    ]


def _folded(words: Sequence[str], width: int) -> list[str]:
    """Return `words` in as many lines as it takes, each but the last with a backslash."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < width:
            lines[-1] += f" {word}"
        else:
            lines[-1] += " \\"
            lines.append(f"    {word}")
    return lines


def _end(job: Job, scheduler: Scheduler) -> list[str]:
    if job.sweep:
        return _points_in_turn(job, scheduler)
    lines = ["launch", *scheduler.after]
    lines += ['if [ "$code" = 75 ]; then']
    if job.chain > 1:
        lines += [
            '    if [ "$link" -lt "$links" ]; then say "stopped in good order: link $((link + 1)) goes on"'
        ]
        lines += [
            '    else say "stopped in good order after the last link: the same hpc-ds submit goes on"; fi'
        ]
    else:
        lines += ['    say "stopped in good order: the same hpc-ds submit goes on"']
    return [*lines, "fi", 'exit "$code"']


def _points_in_turn(job: Job, scheduler: Scheduler) -> list[str]:
    """Return the loop over the points of a task; the worst exit code is the job's."""
    return [
        f"task={scheduler.task} points={len(job.points)} tasks={job.tasks} worst=0",
        "for ((point = task; point < points; point += tasks)); do",
        "    code=0",
        '    choose "$point"',
        '    if ! settled "$point"; then',
        '        if [ "$stop" = 1 ]; then worst=75; break; fi',
        '        rm -f "$record"',
        "        launch",
        "    fi",
        '    case $code in 0) ;; 75) worst=75; break ;; *) [ "$worst" = 75 ] || worst=$code ;; esac',
        "done",
        'exit "$worst"',
    ]
