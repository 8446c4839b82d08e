"""What a sampling run keeps in its folder while it goes: snapshots, and the draws between them as HDF5 chunks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hpc_ds.infer.pieces import Slab
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.folder import RunFolder
from hpc_ds.runtime.snapshot import Snapshots


class Archive:
    """Snapshots under ``snapshots/`` and chunks of draws under ``draws/``, named by their first scan.

    A chunk is written whole before the snapshot that counts it; one that no snapshot counts is dropped and made again.
    """

    def __init__(self, folder: RunFolder, warn: Callable[[str], None] | None = None) -> None:
        self._folder = folder
        self._snapshots = Snapshots(folder / "snapshots", warn)
        self._draws = folder / "draws"

    def save(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], slabs: dict[str, Slab]) -> None:
        """Write the chunk, then the snapshot."""
        from hpc_ds.store.netcdf import Group, write_groups

        self._folder.ensure_held()
        if slabs:
            self._draws.mkdir(exist_ok=True)
            first = meta["scans"] - len(next(iter(slabs.values())).energies)
            groups = {
                f"ensemble{meta['keys'].index(key)}": Group(
                    variables={
                        "energies": (("scan", "level"), slab.energies),
                        "draws": (("scan", "parameter"), slab.draws),
                        "log_prior": (("scan",), slab.log_prior),
                    }
                )
                for key, slab in slabs.items()
            }
            write_groups(self._draws / f"{first:012d}.h5", groups)
        self._snapshots.save(arrays, meta)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """Return the newest sound snapshot; remove chunks that it does not count."""
        found = self._snapshots.load()
        counted = found[1]["counted"] if found is not None else 0
        for path in self._chunks():
            if int(path.stem) >= counted:
                path.unlink()
        return found

    def slabs(self, keys: Sequence[str], scans: int) -> dict[str, Slab]:
        """Read the first `scans` scans of all ensembles.

        Raises
        ------
        InputError
            Chunks are missing or damaged.
        """
        from hpc_ds.store.netcdf import read_group

        parts: dict[str, list[Slab]] = {key: [] for key in keys}
        expected = 0
        for path in self._chunks():
            if int(path.stem) != expected:
                raise InputError(f"{self._draws}: the chunk that begins with scan {expected} is missing")
            for e, key in enumerate(keys):
                group = read_group(path, f"ensemble{e}")
                parts[key].append(Slab(group["energies"], group["draws"], group["log_prior"]))
            expected += len(parts[keys[0]][-1].energies)
        if expected != scans:
            raise InputError(f"{self._draws}: {expected} scans found, the snapshot counts {scans}")
        return {key: Slab.join(found) for key, found in parts.items()}

    def _chunks(self) -> list[Path]:
        return sorted(self._draws.glob("[0-9]*.h5")) if self._draws.is_dir() else []


class Memory:
    """Keeps draws of a run without a folder."""

    def __init__(self) -> None:
        self._slabs: dict[str, list[Slab]] = {}

    def save(self, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], slabs: dict[str, Slab]) -> None:
        """Keep the draws; nothing is there to resume from."""
        for key, slab in slabs.items():
            self._slabs.setdefault(key, []).append(slab)

    def load(self) -> None:
        """Nothing was kept."""

    def slabs(self, keys: Sequence[str], scans: int) -> dict[str, Slab]:
        """Return the draws of all ensembles."""
        return {key: Slab.join(self._slabs[key]) for key in keys}
