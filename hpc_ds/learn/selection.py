"""What a network sees and what it learns: parts of a data set by name, component and time, such as ``u:0``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hpc_ds.learn.settings import Settings
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

Kind = Literal["fields", "scalars", "classify"]

_TIMES = "times are given as 0, -1, 0:10 or 0:10:2"


@dataclass(frozen=True)
class Quantity:
    """A field or a number of each sample, as a data set offers it for selection."""

    name: str
    on_grid: bool
    """Whether it is a field; otherwise it is one number a sample, or one a time."""
    times: int | None = None
    """How many times (of plain arrays: channels) it has; None if it does not vary in time."""
    components: tuple[tuple[str, ...], ...] = ()
    """Names along each axis of components: one axis for a vector, two for a tensor."""
    choices: tuple[str, ...] = ()
    """What the numbers 0, 1, ... stand for, of a choice among words."""
    labels: bool = False
    """Whether it holds whole numbers or words, which name classes."""


@dataclass(frozen=True)
class Part:
    """One entry of ``--input`` or ``--target``, e.g. ``u.x:0:10``."""

    name: str
    component: str = ""
    """``x`` or ``0`` of a vector, ``x.y`` or ``0.1`` of a tensor; empty for all components."""
    times: str = ""
    """``0``, ``-1``, ``0:10`` or ``0:10:2``; empty for all times, or for those of the window."""

    def __str__(self) -> str:
        component = f".{self.component}" if self.component else ""
        return f"{self.name}{component}{':' if self.times else ''}{self.times}"


@dataclass(frozen=True)
class Selection:
    """What is input and what is target; plain text, which fits any data set that has those names."""

    inputs: tuple[Part, ...]
    targets: tuple[Part, ...]
    window: tuple[int, int] | None
    """(n, m): every n successive times of a sample predict the m that follow (m = 0: the last of the n) of parts
    without times."""
    task: Kind

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as plain data for JSON; `from_dict` reads it back exactly."""
        return {
            "input": [_plain(part) for part in self.inputs],
            "target": [_plain(part) for part in self.targets],
            "window": list(self.window) if self.window else None,
            "task": self.task,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Selection:
        """Return the selection that `to_dict` described."""
        inputs, targets = (tuple(Part(*part) for part in data[side]) for side in ("input", "target"))
        window = tuple(data["window"]) if data["window"] else None
        return cls(inputs, targets, window, data["task"])


def select(settings: Settings, known: Mapping[str, Quantity], place: str) -> Selection:
    """Return what the settings select of the quantities that a data set has.

    By default all fields at the first time are the input, and all fields at the last time the target, without what the
    other side names; of a set without fields all numbers. With a window, parts without times stand for its times.

    Parameters
    ----------
    settings : Settings
        Of which `input`, `target`, `window` and `task` count.
    known : mapping of name to Quantity
        What there is.
    place : str
        The data set, for messages.

    Raises
    ------
    InputError
        An unknown name, component or time; targets of several kinds; a task that the targets cannot have.
    """
    window = settings.window
    given = {
        flag: tuple(parse(text, flag, known, place) for text in texts)
        for flag, texts in (("--input", settings.input), ("--target", settings.target))
    }
    targets = given["--target"] or tuple(_default_targets(given["--input"], known, window))
    inputs = given["--input"] or tuple(_default_inputs(targets, known, window))
    for flag, parts in (("--input", inputs), ("--target", targets)):
        if not parts:
            raise InputError(f"{flag}: {place} has no default; name some of {', '.join(known)}")
    if window and not any(takes_window(part, known[part.name]) for part in inputs):
        raise InputError(
            f"--window {window[0]},{window[1]}: no part of --input varies in time and stands without times"
        )
    if all(any(_same(one, other, known) for other in inputs) for one in targets) and not (
        window and window[1]
    ):
        raise InputError(
            f"--target {','.join(map(str, targets))}: is what the network sees; name another target"
        )
    return Selection(inputs, targets, window, _task(settings.task, targets, known, window))


def parse(text: str, flag: str, known: Mapping[str, Quantity], place: str) -> Part:
    """Return the part that a text such as ``u.x:0:10`` names; `flag` stands before the message.

    Raises
    ------
    InputError
        There is no such name, component or time.
    """
    head, colon, times = text.partition(":")
    fitting = [name for name in known if head == name or head.startswith(f"{name}.")]
    if not fitting:
        raise InputError(f"{flag} {text}: no '{head}' in {place}; {unknown(head, known, 'there')}")
    name = max(fitting, key=len)
    part = Part(name, head[len(name) + 1 :], times)
    try:
        if colon and not times:
            raise ValueError(_TIMES)
        component_index(part.component, known[name])
        time_range(part.times, known[name])
    except ValueError as error:
        raise InputError(f"{flag} {text}: {error}") from None
    return part


def takes_window(part: Part, quantity: Quantity) -> bool:
    """Whether a part stands for the times of the window, where there is one."""
    return not part.times and quantity.times is not None


def component_index(text: str, quantity: Quantity) -> tuple[int, ...] | None:
    """Return the place of a component along each of its axes; None for all components (ValueError if unknown)."""
    if not text:
        return None
    words = text.split(".")
    if len(words) != len(quantity.components):
        kind = ("has no components", "is a vector: one component is needed", "is a tensor: two are needed")
        raise ValueError(f"{quantity.name} {kind[len(quantity.components)]}")
    return tuple(_place(word, names, quantity.name) for word, names in zip(words, quantity.components))


def time_range(text: str, quantity: Quantity) -> range | None:
    """Return the times that a text such as ``-1`` or ``0:10:2`` names; None for something that does not vary.

    Raises
    ------
    ValueError
        In words: no such times.
    """
    if quantity.times is None:
        if text:
            raise ValueError(f"{quantity.name} does not vary in time; leave out :{text}")
        return None
    if not text:
        return range(quantity.times)
    try:
        bounds = [int(word) if word else None for word in text.split(":")]
    except ValueError:
        bounds = []
    if not 1 <= len(bounds) <= 3 or bounds == [None]:
        raise ValueError(_TIMES)
    return _checked_range(bounds, quantity.times)


def all_names(parts: Iterable[Part]) -> list[str]:
    """Return the names in some parts, each once, in order."""
    return list(dict.fromkeys(part.name for part in parts))


# Within


def _plain(part: Part) -> list[str]:
    return [part.name, part.component, part.times]


def _place(word: str, names: Sequence[str], owner: str) -> int:
    if word in names:
        return names.index(word)
    if word.isdigit() and int(word) < len(names):
        return int(word)
    raise ValueError(f"{owner} has no component '{word}'; there are {', '.join(names)}")


def _checked_range(bounds: list[int | None], count: int) -> range:
    for bound in bounds[:2]:
        # The end of a range may be one past the last time.
        if bound is not None and not -count <= bound <= count - (len(bounds) == 1):
            raise ValueError(f"time {bound} is out of range: there are {count}, 0 to {count - 1}")
    if len(bounds) == 1:
        first = int(bounds[0] or 0) % count
        return range(first, first + 1)
    if len(bounds) == 3 and (bounds[2] is not None and bounds[2] < 1):
        raise ValueError(f"a step of {bounds[2]}: times go forwards")
    chosen = range(count)[slice(*bounds)]
    if not chosen:
        raise ValueError(f"no time lies in this range: there are {count}, 0 to {count - 1}")
    return chosen


def _same(one: Part, other: Part, known: Mapping[str, Quantity]) -> bool:
    quantity = known[one.name]
    return (one.name, one.component) == (other.name, other.component) and (
        time_range(one.times, quantity) == time_range(other.times, quantity)
    )


def _default_inputs(
    targets: Sequence[Part], known: Mapping[str, Quantity], window: tuple[int, int] | None
) -> list[Part]:
    fields = [quantity for quantity in known.values() if quantity.on_grid]
    learned = {part.name for part in targets}
    parts = [_at(quantity, "" if window else "0") for quantity in fields or known.values()]
    if not fields:
        return [part for part in parts if part.name not in learned]
    return [part for part in parts if part not in targets or takes_window(part, known[part.name])]


def _default_targets(
    inputs: Sequence[Part], known: Mapping[str, Quantity], window: tuple[int, int] | None
) -> list[Part]:
    fields = [quantity for quantity in known.values() if quantity.on_grid]
    varying = [quantity for quantity in fields if quantity.times is not None]
    if varying:
        return [_at(quantity, "" if window else "-1") for quantity in varying]
    seen = {part.name for part in inputs}
    return [Part(quantity.name) for quantity in fields if seen and quantity.name not in seen]


def _at(quantity: Quantity, times: str) -> Part:
    return Part(quantity.name, "", times if quantity.times is not None else "")


def _task(
    asked: str, targets: Sequence[Part], known: Mapping[str, Quantity], window: tuple[int, int] | None
) -> Kind:
    text = f"--target {','.join(map(str, targets))}"
    kinds = {known[part.name].on_grid for part in targets}
    if len(kinds) > 1:
        raise InputError(f"{text}: mixes fields and numbers of a sample; a network learns one kind")
    if kinds == {True}:
        if asked not in ("auto", "fields"):
            raise InputError(f"--task {asked}: {text} is a field; --task fields is right")
        return "fields"
    if asked == "fields":
        raise InputError(f"--task fields: {text} is no field; --task scalars or classify is right")
    first = known[targets[0].name]
    named = bool(first.choices) or first.labels
    if asked == "scalars" or (asked == "auto" and not (named and len(targets) == 1)):
        return "scalars"
    _check_one_label(text, targets, first, window)
    return "classify"


def _check_one_label(
    text: str, targets: Sequence[Part], quantity: Quantity, window: tuple[int, int] | None
) -> None:
    if len(targets) != 1:
        raise InputError(f"{text}: --task classify needs one target, whose values are the classes")
    times = time_range(targets[0].times, quantity)
    count = 1 if times is None else len(times)
    if window and takes_window(targets[0], quantity):
        count = max(1, window[1])
    if count != 1:
        raise InputError(
            f"{text}: has {count} values a sample; --task classify needs one, such as {quantity.name}:-1"
        )
