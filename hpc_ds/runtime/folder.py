"""Run folders: all that a run writes, in one folder that knows its configuration and who is at work."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

import tomli_w

from hpc_ds.runtime import atomic, lock, provenance
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.world import World

FORMAT = 1

State = Literal["running", "stopped", "done", "failed"]
"""running, or killed while it ran; stopped in good order before the end; done; failed with an error."""

_STATE = "state.json"
_CONFIG = "config.toml"
_PROVENANCE = "provenance.json"
_ABSENT = "(not set)"


class RunFolder:
    """A run folder that this run holds; made by `open` on all ranks, written by rank 0 only.

    As a context manager it closes itself, and an exception that leaves the block makes the state ``failed``
    (an interrupt: ``stopped``) if it still was ``running``.

    Attributes
    ----------
    path : Path
        The folder; ``folder / "name"`` is a path inside.
    previous_state : str or None
        The state that an earlier session left (``running`` if it was killed), None in a new folder.
    """

    def __init__(
        self, path: Path, kind: str, previous_state: State | None, held: lock.FolderLock | None
    ) -> None:
        self.path = path
        self.previous_state = previous_state
        self._kind = kind
        self._state: State = "running"
        self._lock = held

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        kind: str,
        config: Mapping[str, Any],
        growable: AbstractSet[str],
        world: World,
        command: Sequence[str],
        seed: int | None,
    ) -> RunFolder:
        """Make or continue the run folder `path`; collective. Afterwards its state is ``running``.

        Parameters
        ----------
        path : str or Path
            The folder; made, with its parents, if it does not exist.
        kind : str
            Which engine's run it is: ``infer``, ``simulate``, ``learn``.
        config : dict
            The resolved configuration, nested as deep as wanted. An entry None means the same as no entry.
        growable : set of str
            Dotted keys whose values (or tables) may differ from those of the earlier session, e.g.
            ``{"draws"}``. When one does, ``config.toml`` is rewritten.
        world : World
            The ranks of this run.
        command : list of str
            The command line, for the provenance.
        seed : int or None
            The seed, for the provenance.

        Raises
        ------
        InputError
            On all ranks, and nothing is written: the folder is not writable, belongs to a run of another kind
            or configuration, is not empty and no run folder, is of a later format, damaged, or in use.
        StorageError
            On all ranks: the disk refuses. The same command may be given again.
        """
        held: list[lock.FolderLock] = []
        session = provenance.session(world.size, command, seed) if world.is_root else {}
        wanted = _normalised(config) if world.is_root else {}
        name, previous = world.root_first(_prepare, Path(path), kind, wanted, growable, session, held)
        return cls(Path(name), kind, previous, held[0] if held else None)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def state(self) -> State:
        """The state that was set last."""
        return self._state

    def set_state(self, state: State, note: str | None = None) -> None:
        """Set the state on this rank and, on rank 0, in ``state.json``; `note` says in one line why.

        Raises
        ------
        ValueError
            Not one of the four states.
        StorageError
            The disk refuses, or another process has taken the folder over (see `ensure_held`).
        """
        if state not in get_args(State):
            raise ValueError(f"state is {state!r}: it must be one of {', '.join(get_args(State))}")
        self.ensure_held()
        if self._lock is not None:
            _write_state(self.path, self._kind, state, note)
        self._state = state

    def ensure_held(self) -> None:
        """Check that the folder still is this run's; call it on rank 0 before a snapshot is written.

        Raises
        ------
        StorageError
            Another process took the folder over, because this one gave no sign of life for a minute.
        """
        if self._lock is not None and self._lock.lost:
            raise StorageError(0, "another process has taken this folder over", str(self.path))

    def close(self) -> None:
        """Give the folder back, in the state that it is in; may be called twice."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and self._state == "running":
                self._note_failure(error)
        finally:
            self.close()

    def _note_failure(self, error: BaseException) -> None:
        state: State = "failed" if isinstance(error, Exception) else "stopped"
        try:
            self.set_state(state, f"{type(error).__name__}: {error}".splitlines()[0])
        except StorageError:  # the error on its way is what the user must see
            self._state = state


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return ``state.json`` of a run folder: format, kind, state, updated, note; and ``alive``.

    ``alive`` tells whether a process is at work there: a state ``running`` that is not alive was killed.

    Raises
    ------
    InputError
        No run folder, or one of a later format or damaged.
    """
    folder = Path(path)
    state = _state(folder)
    if state is None:
        raise InputError(f"{folder}: no run folder ({_STATE} is missing); give the folder of --out")
    return {**state, "alive": lock.is_held(folder)}


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the resolved configuration of a run folder.

    Raises
    ------
    InputError
        No run folder, or a damaged one.
    """
    config = _config(Path(path))
    if config is None:
        raise InputError(f"{path}: no run folder ({_CONFIG} is missing); give the folder of --out")
    return config


def _prepare(
    path: Path,
    kind: str,
    config: dict[str, Any],
    growable: AbstractSet[str],
    session: dict[str, Any],
    held: list[lock.FolderLock],
) -> tuple[str, State | None]:
    """Do rank 0's part of `RunFolder.open`; the lock is handed out through `held`, as it cannot be sent."""
    folder = Path(os.path.abspath(path))
    _examine(folder, kind, config, growable)
    _make(folder)
    own = lock.FolderLock.acquire(folder)
    try:
        earlier = _examine(folder, kind, config, growable)  # again: another process may have come first
        atomic.remove_leftovers(folder)
        _write_state(folder, kind, "running", None)  # first, for it is what makes the folder a run folder
        if _config(folder) != config:
            atomic.write_text(folder / _CONFIG, tomli_w.dumps(config))
        history = provenance.read(folder / _PROVENANCE)
        atomic.write_json(folder / _PROVENANCE, provenance.extended(history, kind, session))
    except BaseException:
        own.release()
        raise
    held.append(own)
    return str(folder), earlier


def _examine(folder: Path, kind: str, config: dict[str, Any], growable: AbstractSet[str]) -> State | None:
    """Refuse a folder that this run must not touch, only by reading; return its state."""
    _check_writable(folder)
    state = _state(folder)
    if state is None:
        strange = [entry.name for entry in _entries(folder) if not lock.is_lock_file(entry)]
        if strange:
            raise InputError(
                f"{folder}: not empty and no run folder (it holds {strange[0]}); "
                "choose a new folder or an earlier run's"
            )
        return None
    if state["kind"] != kind:
        raise InputError(f"{folder}: holds a run of {state['kind']}, not of {kind}; choose another folder")
    _check_config(folder, config, growable)
    return state["state"]


def _check_writable(folder: Path) -> None:
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    try:
        if not place.is_dir():
            raise InputError(
                f"{place}: is no folder, so the results cannot be written to {folder}; choose another one"
            )
        usable = os.access(place, os.R_OK | os.W_OK | os.X_OK)
    except PermissionError:
        usable = False
    if not usable:
        raise InputError(f"{folder}: no permission to write in {place}; choose a folder of your own")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose a folder that can") from error


def _check_config(folder: Path, config: dict[str, Any], growable: AbstractSet[str]) -> None:
    stored = _config(folder)
    if stored is None:  # killed before it was written
        return
    there, here = _flat(stored), _flat(config)
    for key in {**here, **there}:
        old, new = there.get(key, _ABSENT), here.get(key, _ABSENT)
        if not _same(old, new) and not _may_grow(key, growable):
            raise InputError(
                f"{folder}: belongs to another configuration: {key} is {_shown(old)} there and "
                f"{_shown(new)} here; give the same value or choose another folder"
            )


def _may_grow(key: str, growable: AbstractSet[str]) -> bool:
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in growable)


def _same(old: Any, new: Any) -> bool:
    both_nan = isinstance(old, float) and isinstance(new, float) and old != old and new != new
    return both_nan or (old == new and isinstance(old, bool) == isinstance(new, bool))


def _shown(value: Any) -> str:
    return value if value is _ABSENT else repr(value)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Spread nested tables and lists over keys like ``noise.sigma`` and ``peaks[2].width``."""
    if isinstance(value, dict) and (value or not prefix):
        pairs = [(f"{prefix}.{key}" if prefix else key, item) for key, item in value.items()]
    elif isinstance(value, list) and value:
        pairs = [(f"{prefix}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {prefix: value}
    return {key: leaf for name, item in pairs for key, leaf in _flat(item, name).items()}


def _normalised(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring `config` to the form in which TOML gives it back."""
    return tomllib.loads(tomli_w.dumps(_without_none(atomic.plain(config))))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _config(folder: Path) -> dict[str, Any] | None:
    text = _text(folder / _CONFIG)
    try:
        return None if text is None else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{folder / _CONFIG}: damaged ({error}); mend it or choose another folder"
        ) from error


def _state(folder: Path) -> dict[str, Any] | None:
    text = _text(folder / _STATE)
    if text is None:
        return None
    try:
        state = json.loads(text)
        version = int(state["format"])
        known = "kind" in state and state["state"] in get_args(State)
    except (ValueError, KeyError, TypeError):
        known, version = False, 0
    if version > FORMAT:
        raise InputError(
            f"{folder}: run folder of format {version}, this version knows {FORMAT}: update hpc_ds"
        )
    if not known:
        raise InputError(f"{folder / _STATE}: damaged, no state of a run; mend it or choose another folder")
    return state


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); mend it or choose another folder") from error


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _write_state(folder: Path, kind: str, state: State, note: str | None) -> None:
    record = {"format": FORMAT, "kind": kind, "state": state, "note": note, "updated": provenance.now()}
    atomic.write_json(folder / _STATE, record)
