"""What is wrong with a job script, ours or anybody's: false dashes, unknown options, ranks that hear of nothing."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from hpc_ds.jobs.words import DASHES
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml


@dataclass(frozen=True)
class Problem:
    """A problem of a script, at a line counted from 1."""

    line: int
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}"


def lint(script: str) -> list[Problem]:
    """Return what is wrong with a script, in the order of its lines; nothing is the hoped-for answer."""
    lines = script.split("\n")  # not splitlines, which would hide a carriage return
    whole = _unfolded(lines)
    found = [*_characters(lines), *_directives(lines), *_steps(whole), *_signals(whole)]
    return sorted(found, key=lambda problem: problem.line)


def _characters(lines: list[str]) -> Iterator[Problem]:
    for number, line in enumerate(lines, 1):
        for letter in sorted({letter for letter in line if not letter.isascii()}):
            name = f"{unicodedata.name(letter, 'a character')} (U+{ord(letter):04X})"
            if letter in DASHES and not line.lstrip().startswith("# "):
                yield Problem(
                    number, f"{name} is no hyphen: the option behind it is ignored or read as a file name"
                )
            else:
                yield Problem(number, f"{name}: job scripts are ASCII")
        if "\r" in line:
            yield Problem(
                number, "ends like a line of Windows: bash takes the carriage return for a part of the word"
            )


def _directives(lines: list[str]) -> Iterator[Problem]:
    readers = {"#SBATCH": _slurm_option, "#PJM": _pjm_option, "#PBS": _pbs_option}
    commands = False
    for number, line in enumerate(lines, 1):
        head, _, rest = line.partition(" ")
        if head in readers:
            if commands:
                yield Problem(number, f"{head} after the first command: it is not read")
            try:
                words = shlex.split(rest, comments=True)
            except ValueError as error:
                yield Problem(number, f"{head}: {error}")
                continue
            if rest.isascii():
                yield from (Problem(number, text) for text in readers[head](words))
        elif re.match(r"#\s+(SBATCH|PJM|PBS)\s+-", line) or re.match(r"#(SBATCH|PJM|PBS)\S", line):
            yield Problem(
                number, f"'{line[:20]}' is a comment, no directive: write {_nearest_head(line)} and one space"
            )
        elif line.strip() and not line.lstrip().startswith("#"):
            commands = True


def _nearest_head(line: str) -> str:
    return next(head for head in ("#SBATCH", "#PJM", "#PBS") if head[1:] in line)


def _slurm_option(words: list[str]) -> Iterator[str]:
    for word in words:
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--"):
            if name not in _options()["slurm"]["words"]:
                yield f"#SBATCH --{name}: unknown; {_near(name, _options()['slurm']['words'])}"
        elif word.startswith("-") and word[1:2] not in _options()["slurm"]["letters"]:
            yield f"#SBATCH {word[:2]}: unknown"


def _pjm_option(words: list[str]) -> Iterator[str]:
    for index, word in enumerate(words):
        value = words[index + 1] if index + 1 < len(words) else ""
        name = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and name not in _options()["pjm"]["words"]:
            yield f"#PJM --{name}: unknown; {_near(name, _options()['pjm']['words'])}"
        elif (
            word.startswith("-")
            and not word.startswith("--")
            and word[1:2] not in _options()["pjm"]["letters"]
        ):
            yield f"#PJM {word[:2]}: unknown"
        if word in ("-L", "--mpi"):
            known = _options()["pjm"]["resources" if word == "-L" else "mpi"]
            for key in (part.partition("=")[0].strip() for part in value.split(",")):
                if key not in known:
                    yield f"#PJM {word} {key}: unknown; {_near(key, known)}"


def _pbs_option(words: list[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("-") and (len(word) < 2 or word[1] not in _options()["pbs"]["letters"]):
            yield f"#PBS {word}: unknown"


def _unfolded(lines: list[str]) -> list[str]:
    """Return the lines with those that a backslash continues whole where they begin, and empty where they went on."""
    found = list(lines)
    for index in range(len(found) - 2, -1, -1):
        if found[index].endswith("\\"):
            found[index] = f"{found[index][:-1]} {found[index + 1].lstrip()}"
            found[index + 1] = ""
    return found


def _steps(lines: list[str]) -> Iterator[Problem]:
    """Find srun calls that would start ranks with one core each, or as singletons."""
    text = "\n".join(lines)
    threads = re.search(r"^#SBATCH .*--cpus-per-task[= ](\d+)", text, re.MULTILINE)
    exported = "SRUN_CPUS_PER_TASK" in text
    for number, line in _calls(lines, "srun"):
        if "--mpi=list" in line:
            continue
        if threads and "--cpus-per-task" not in line and " -c" not in line and not exported:
            yield Problem(
                number, "srun without --cpus-per-task: since SLURM 22.05 it takes none from sbatch; "
                "add it, or export SRUN_CPUS_PER_TASK"
            )  # fmt: skip
        if "--cpu_bind" in line:
            yield Problem(number, "srun --cpu_bind: the option is --cpu-bind now")


def _signals(lines: list[str]) -> Iterator[Problem]:
    """Find a notice to the batch shell that the ranks would never hear of."""
    asked = [number for number, line in enumerate(lines, 1) if re.match(r"#SBATCH .*--signal=\S*B:", line)]
    if not asked:
        return
    if not any(re.match(r"\s*trap\b.*\bUSR[12]\b|\s*trap\b.*\bSIG\w+\b", line) for line in lines):
        yield Problem(asked[0], "--signal=B: tells the batch shell alone, and there is no trap for it")
    for number, line in [*_calls(lines, "srun"), *_calls(lines, "mpiexec"), *_calls(lines, "mpirun")]:
        if "--mpi=list" in line or not re.search(r"command|hpc-ds|python", line):
            continue
        if not re.search(r"&\s*\)?\s*&?\s*$", line.rstrip()) and "exec " not in line:
            yield Problem(
                number,
                "in the foreground: bash runs the trap of --signal=B: only when it has ended; add & and wait",
            )
    if not any(re.match(r"\s*wait\b", line) for line in lines):
        yield Problem(
            asked[0],
            "--signal=B: but no wait: the script ends before its ranks, or hears the signal after them",
        )


def _calls(lines: list[str], program: str) -> list[tuple[int, str]]:
    pattern = re.compile(rf"(?:^|[\s(;&|]){program}\s")
    return [
        (number, line)
        for number, line in enumerate(lines, 1)
        if not line.lstrip().startswith("#") and pattern.search(line) and "say " not in line
    ]


@cache
def _options() -> dict[str, Any]:
    return read_toml(str(files("hpc_ds.jobs") / "scheduler_options.toml"))


def _near(word: str, known: list[str]) -> str:
    return (
        unknown(word, known).partition("? ")[0] + "?"
        if "did you mean" in unknown(word, known)
        else "see the manual"
    )
