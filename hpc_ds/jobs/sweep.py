"""Sweeps: one command for each combination of values, each with a run folder of its own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpc_ds.runtime.errors import InputError

MOST_POINTS = 100_000
"""More commands than this are a mistake, and no scheduler takes them."""

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_OUT = ("--out", "-o")


@dataclass(frozen=True)
class Axis:
    """A swept option and its values."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Point:
    """A command of a sweep, or the only one of a job without a sweep."""

    label: str
    """The values, as in ``noise=0.1,peaks=3``; empty without a sweep."""

    command: tuple[str, ...]

    out: str | None
    """The run folder that the command writes, None if it names none."""


def read_axes(texts: Sequence[str]) -> tuple[Axis, ...]:
    """Read ``key=a,b,c`` texts; a value with commas in it stands in double quotes.

    Raises
    ------
    InputError
        No ``=``, no value, a key that is none, or twice the same key or value.
    """
    axes: list[Axis] = []
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not _KEY.fullmatch(key):
            raise InputError(f"--sweep '{text}': write key=a,b,c, such as --sweep seed=1,2,3")
        if any(key == axis.key for axis in axes):
            raise InputError(f"--sweep '{text}': {key} is swept already; give all its values at once")
        axes.append(Axis(key, _values(text, values)))
    return tuple(axes)


def points(command: Sequence[str], axes: Sequence[Axis]) -> list[Point]:
    """Return one command for each combination of the axes' values, the last axis running fastest.

    ``{key}`` in the command is replaced. A key that does not occur so becomes an option of hpc-ds: ``--key value``,
    and ``option.width`` becomes ``--option width=value``. The run folder of --out gets a folder below for each
    combination, unless it names the keys itself.

    Raises
    ------
    InputError
        A key without ``{key}`` in a command that is not hpc-ds's, or too many combinations.
    """
    if not axes:
        return [Point("", tuple(command), out_of(command))]
    number = 1
    for axis in axes:
        number *= len(axis.values)
    if number > MOST_POINTS:
        raise InputError(f"--sweep: {number} combinations, at most {MOST_POINTS} are possible")
    return [
        _point(command, [(axis.key, value) for axis, value in zip(axes, values)])
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def out_of(command: Sequence[str]) -> str | None:
    """Return the run folder that a command names with --out or -o, None if it names none."""
    found = _out_position(command)
    if found is None:
        return None
    index, prefix = found
    return command[index][len(prefix) :] or None


def is_ours(command: Sequence[str]) -> bool:
    """Tell whether a command is hpc-ds."""
    return bool(command) and command[0].rsplit("/", 1)[-1] == "hpc-ds"


def _values(text: str, values: str) -> tuple[str, ...]:
    found = re.findall(r'"([^"]*)"|([^,]+)', values)
    words = tuple((quoted or plain).strip() for quoted, plain in found)
    if not words or not all(words):
        raise InputError(f"--sweep '{text}': no value, or an empty one; write key=a,b,c")
    if len(set(words)) != len(words):
        raise InputError(f"--sweep '{text}': the same value twice")
    return words


def _point(command: Sequence[str], values: Sequence[tuple[str, str]]) -> Point:
    words, added = list(command), []
    label = ",".join(f"{key}={_file_name(value)}" for key, value in values)
    place = _out_position(command)
    named = place is not None and any(f"{{{key}}}" in command[place[0]] for key, _ in values)
    for key, value in values:
        if any(f"{{{key}}}" in word for word in words):
            words = [
                word.replace(f"{{{key}}}", _file_name(value) if _is_out(words, word) else value)
                for word in words
            ]
        elif is_ours(command):
            name, _, entry = key.partition(".")
            added += [f"--{name.replace('_', '-')}", f"{entry}={value}" if entry else value]
        else:
            raise InputError(
                f"--sweep {key}: the command is not hpc-ds, so write {{{key}}} where the value belongs"
            )
    if place is not None and not named:
        words[place[0]] = f"{words[place[0]].rstrip('/')}/{label}"
    whole = (*words, *added)
    return Point(label, whole, out_of(whole))


def _out_position(command: Sequence[str]) -> tuple[int, str] | None:
    """Return the index of the word with the run folder, and what stands before it in that word."""
    for index, word in enumerate(command):
        if word in _OUT and index + 1 < len(command):
            return index + 1, ""
        if word.startswith("--out="):
            return index, "--out="
    return None


def _is_out(words: Sequence[str], word: str) -> bool:
    place = _out_position(words)
    return place is not None and words[place[0]] == word


def _file_name(value: str) -> str:
    """Return a value as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", value)
