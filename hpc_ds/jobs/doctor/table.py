"""The doctor's findings for people: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hpc_ds.jobs.doctor.finding import Finding, counted

_COLOURS = {"ok": "green", "note": "yellow", "wrong": "bold red"}


def show(findings: Sequence[Finding]) -> None:
    """Print what was found, the worst last, and below it the commands that mend it, each on a line to copy."""
    # mpiexec gives its ranks a terminal even where the output goes to a file; launch/mpi.sh then calls it dumb.
    if sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _print_table(findings)
    else:
        for each in findings:
            print(f"{each.state:<6}{each.name}: {each.found}")
    for each in _to_mend(findings):
        print(f"\n{each.name} ({each.state}):\n    {each.cure}")
    print(f"\n{verdict(findings)}", flush=True)


def verdict(findings: Sequence[Finding]) -> str:
    """Return the last line: whether runs will work here."""
    wrong = sum(finding.state == "wrong" for finding in findings)
    notes = sum(finding.state == "note" for finding in findings)
    told = f"{counted(wrong, 'thing')} will stop or spoil runs" if wrong else "nothing will stop runs"
    return f"hpc-ds doctor: {told}" + (f", {counted(notes, 'note')}" if notes else "")


def _to_mend(findings: Sequence[Finding]) -> list[Finding]:
    return sorted((each for each in findings if each.cure), key=lambda each: each.state)


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("", "checked", "found"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "")
    for each in findings:
        table.add_row(Text(each.state, style=_COLOURS[each.state]), Text(each.name), Text(each.found))
    Console().print(table)
