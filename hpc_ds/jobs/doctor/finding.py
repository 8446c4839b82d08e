"""What one check of the doctor finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

State = Literal["ok", "note", "wrong"]
"""ok; note: runs work, but slower or without something; wrong: runs will stop or spoil their results."""

_MOST_HOSTS = 3


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    name: str
    """What was looked at, in a few words; the same on all machines."""
    state: State
    found: str
    """What was found, in one line."""
    cure: str = ""
    """The command that mends it; empty where there is nothing to mend."""


def worst(findings: Iterable[Finding]) -> State:
    """Return the worst state among `findings`; ok if there are none."""
    return max((finding.state for finding in findings), key=get_args(State).index, default="ok")


def merged(hosts: Sequence[tuple[str, Sequence[Finding]]]) -> list[Finding]:
    """Return one finding a name from those of several machines: the worst, saying where it was found.

    Parameters
    ----------
    hosts : sequence of (str, sequence of Finding)
        A machine's name with what was found there.
    """
    names = dict.fromkeys(finding.name for _, findings in hosts for finding in findings)
    return [_merged_one(name, hosts) for name in names]


def _merged_one(name: str, hosts: Sequence[tuple[str, Sequence[Finding]]]) -> Finding:
    everywhere = [(host, each) for host, findings in hosts for each in findings if each.name == name]
    state = worst(each for _, each in everywhere)
    guilty = [(host, each) for host, each in everywhere if each.state == state]
    first = guilty[0][1]
    if state == "ok" or (len(guilty) == len(hosts) and len({each.found for _, each in guilty}) == 1):
        return first
    return replace(first, found=f"on {host_list([host for host, _ in guilty])}: {first.found}")


def host_list(hosts: Iterable[str]) -> str:
    """Return the first few of some machines' names, and how many more there are."""
    names = list(dict.fromkeys(hosts))
    more = f" and {len(names) - _MOST_HOSTS} more" if len(names) > _MOST_HOSTS else ""
    return ", ".join(names[:_MOST_HOSTS]) + more


def counted(number: int, what: str) -> str:
    """Return ``1 rank`` or ``2 ranks``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
