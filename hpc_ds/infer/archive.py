"""What a sampling run keeps in its folder while it goes: snapshots, and the draws between them as HDF5 chunks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hpc_ds.infer.pieces import Slab
from hpc_ds.runtime.atomic import remove_leftovers
from hpc_ds.runtime.errors import InputError, StorageError
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.snapshot import Snapshots

if TYPE_CHECKING:
    from hpc_ds.store.netcdf import Group

_CHUNK = re.compile(r"\d{12}-\d{12}(\.\d+)?\.h5")


class Archive:
    """Snapshots under ``snapshots/`` and chunks of draws under ``draws/``.

    A chunk is named by its first scan and the one after its last. It is written whole before the snapshot that counts
    it; one that no snapshot counts is dropped and made again. Where several scribes write, each writes a file of its
    own, with its number before the suffix and the ensembles of the ranks near it.
    """

    shared = True

    def __init__(self, folder: RunFolder, warn: Callable[[str], None] | None = None) -> None:
        self._folder = folder
        self._snapshots = Snapshots(folder / "snapshots", warn)
        self._draws = folder / "draws"

    def keep(self, slabs: dict[str, Slab], meta: dict[str, Any], scribe: int | None) -> None:
        """Write a file of draws; called by every scribe."""
        from hpc_ds.store.netcdf import write_groups

        self._folder.ensure_held()
        make_directory(self._draws)
        stop = meta["scans"]
        first = stop - len(next(iter(slabs.values())).energies)
        groups = {f"ensemble{meta['keys'].index(key)}": _group(slab) for key, slab in slabs.items()}
        number = "" if scribe is None else f".{scribe}"
        write_groups(self._draws / f"{first:012d}-{stop:012d}{number}.h5", groups)

    def save(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Write the snapshot; rank 0 only."""
        self._folder.ensure_held()
        make_directory(self._snapshots.directory)
        make_directory(self._draws)
        self._snapshots.save(arrays, meta)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return the newest sound snapshot; remove chunks that it does not count.

        Raises
        ------
        InputError
            A chunk that it counts is missing or damaged.
        """
        remove_leftovers(self._draws)
        found = self._snapshots.load()
        counted = found[1]["counted"] if found is not None else 0
        for path in self._chunks():
            if _span(path)[0] >= counted:
                path.unlink()
        self._check(counted)
        if counted and found is not None:
            self._check_scribes(len(found[1]["keys"]))
        return found

    def slabs(self, keys: Sequence[str], scans: int) -> dict[str, Slab]:
        """Read the first `scans` scans of all ensembles.

        Raises
        ------
        InputError
            Chunks are missing or damaged.
        """
        from hpc_ds.store.netcdf import read_group

        self._check(scans)
        self._check_scribes(len(keys))
        parts: dict[str, list[Slab]] = {key: [] for key in keys}
        for path in self._chunks():
            for e in self._ensembles_in(path, len(keys)):
                group = read_group(path, f"ensemble{e}")
                parts[keys[e]].append(Slab(group["energies"], group["draws"], group["log_prior"]))
        return {key: Slab.join(found) for key, found in parts.items()}

    def _check(self, scans: int) -> None:
        """Refuse chunks that are not the first `scans` scans without a gap."""
        reached = 0
        for first, stop in map(_span, self._chunks()):
            if first == reached:
                reached = stop
        if reached != scans:
            raise InputError(
                f"{self._draws}: draws from scan {reached} on are missing, the snapshot counts {scans}; "
                "put them back, or begin anew in another folder"
            )

    def _check_scribes(self, ensembles: int) -> None:
        """Refuse scans of which the file of one of several scribes is missing."""
        found: dict[tuple[int, int], int] = {}
        for path in self._chunks():
            found[_span(path)] = found.get(_span(path), 0) + len(self._ensembles_in(path, ensembles))
        for (first, _), number in found.items():
            if number != ensembles:
                raise InputError(
                    f"{self._draws}: draws from scan {first} on of {ensembles - number} of {ensembles} ensembles are "
                    "missing; put them back, or begin anew in another folder"
                )

    def _ensembles_in(self, chunk: Path, ensembles: int) -> list[int]:
        """Return the numbers of the ensembles in a file of draws: all of them where only one scribe wrote."""
        from hpc_ds.store.netcdf import list_groups

        if "." not in chunk.stem:
            return list(range(ensembles))
        return [int(name.removeprefix("ensemble")) for name in list_groups(chunk)]

    def _chunks(self) -> list[Path]:
        if not self._draws.is_dir():
            return []
        return sorted(path for path in self._draws.iterdir() if _CHUNK.fullmatch(path.name))


class Memory:
    """Keeps draws of a run without a folder."""

    shared = False

    def __init__(self) -> None:
        self._slabs: dict[str, list[Slab]] = {}

    def keep(self, slabs: dict[str, Slab], meta: dict[str, Any], scribe: int | None) -> None:
        """Keep the draws in memory."""
        for key, slab in slabs.items():
            self._slabs.setdefault(key, []).append(slab)

    def save(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
        """Do nothing: there is nothing to resume from."""

    def load(self) -> None:
        """Nothing was kept."""

    def slabs(self, keys: Sequence[str], scans: int) -> dict[str, Slab]:
        """Return the draws of all ensembles."""
        return {key: Slab.join(self._slabs[key]) for key in keys}


def _group(slab: Slab) -> Group:
    from hpc_ds.store.netcdf import Group

    return Group(
        variables={
            "energies": (("scan", "level"), slab.energies),
            "draws": (("scan", "parameter"), slab.draws),
            "log_prior": (("scan",), slab.log_prior),
        }
    )


def _span(chunk: Path) -> tuple[int, int]:
    """Return the first scan of a chunk and the one after its last."""
    first, _, stop = chunk.stem.partition(".")[0].partition("-")
    return int(first), int(stop)


def make_directory(path: Path) -> None:
    """Make a directory where there is none; `StorageError` if the disk refuses."""
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(error.errno or 0, error.strerror or str(error), str(path)) from error
