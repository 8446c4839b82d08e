"""Read what an infer run left in its folder, without knowing how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.report.record import Record, read_record
from hpc_ds.runtime.errors import InputError

Arrays = Mapping[str, np.ndarray]

OWN_GROUPS = ("mass_radius", "pressure_density", "information")
"""Groups that only some models leave."""


@dataclass(frozen=True)
class Model:
    """One model of the run: its numbers and, where it left a posterior file, the arrays to draw."""

    entry: Mapping[str, Any]
    """Its item of ``summary["models"]``."""
    draws: dict[str, np.ndarray] = field(default_factory=dict)
    """One float64 array (chains, draws) for each scalar, components apart: ``position[1]``, ``noise``."""
    data: Arrays = field(default_factory=dict)
    """``x``, ``y`` and, where known, ``sigma``: float64 (points,)."""
    curves: Arrays = field(default_factory=dict)
    """The group ``/curves``; empty for models that draw none."""
    ladder: Arrays = field(default_factory=dict)
    """The group ``/ladder``."""
    groups: Mapping[str, Arrays] = field(default_factory=dict)
    """Those of `OWN_GROUPS` that the file has."""

    @property
    def name(self) -> str:
        """The model's name, e.g. ``K=3``."""
        return str(self.entry["name"])


@dataclass(frozen=True)
class Run(Record):
    """Everything the report shows."""

    models: tuple[Model, ...]
    """In the order in which they were asked for."""

    @property
    def best(self) -> Model:
        """The most probable model."""
        name = self.summary.get("best")
        return next((model for model in self.models if model.name == name), self.models[0])

    @property
    def data_path(self) -> str:
        """Where the data came from, as the user wrote it."""
        return str(self.summary.get("data", {}).get("path") or "data")

    def axis(self, letter: str) -> str:
        """Return the name that the data give the axis ``x`` or ``y``."""
        return str(self.summary.get("data", {}).get(f"{letter}_name") or letter)


def load(folder: str | Path) -> Run:
    """Read the run in ``folder``.

    Raises
    ------
    InputError
        If ``folder`` is no run folder, is another engine's, has no results yet, or holds a damaged file.
    """
    record = read_record(folder, "infer")
    if not record.summary:
        state = record.state or "unknown"
        raise InputError(
            f"{record.folder}: no results yet (state: {state}); run the same command again to finish it"
        )
    if not record.summary.get("models"):
        raise InputError(
            f"{record.folder / 'summary.json'}: holds no model; run the same command again to finish the run"
        )
    models = tuple(_model(record.folder, entry) for entry in record.summary["models"])
    return Run(**vars(record), models=models)


def _model(path: Path, entry: Mapping[str, Any]) -> Model:
    file = path / "posterior" / f"{entry['name']}.h5"
    if not file.exists():
        return Model(entry)
    groups = _groups(file)
    constant, observed = groups["constant_data"], groups["observed_data"]
    data = {**{key: constant[key] for key in ("x", "sigma") if key in constant}, **observed}
    return Model(
        entry=entry,
        draws=_scalars(groups["posterior"]),
        data={key: np.asarray(value, float) for key, value in data.items() if key in ("x", "y", "sigma")},
        curves=groups["curves"],
        ladder=groups["ladder"],
        groups={name: groups[name] for name in OWN_GROUPS if groups[name]},
    )


def _scalars(posterior: Arrays) -> dict[str, np.ndarray]:
    draws: dict[str, np.ndarray] = {}
    for name, array in posterior.items():
        values = np.asarray(array)
        if values.ndim < 2 or not np.issubdtype(values.dtype, np.number):
            continue
        flat = values.reshape(*values.shape[:2], -1)
        parts = [name] if values.ndim == 2 else [f"{name}[{index + 1}]" for index in range(flat.shape[2])]
        draws.update({part: flat[:, :, index].astype(float) for index, part in enumerate(parts)})
    return draws


def _groups(file: Path) -> dict[str, Arrays]:
    # Imported here: h5py may be built on MPI, which a mere import of the report must not start.
    from hpc_ds.store.netcdf import list_groups, read_group

    wanted = ("posterior", "constant_data", "observed_data", "curves", "ladder", *OWN_GROUPS)
    try:
        present = list_groups(file)
        return {name: read_group(file, name) if name in present else {} for name in wanted}
    except OSError as error:
        raise InputError(f"{file}: cannot be read as HDF5 ({error}); run the same command again") from error
