"""Read what the neutron-star study left in its run folder; what a small or stopped run lacks is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_ds.report.record import Record, finished_study
from hpc_ds.report.wording import finite
from hpc_ds.runtime.errors import InputError

Arrays = Mapping[str, np.ndarray]

LOW, LOWER, MEDIAN, UPPER, HIGH = range(5)
"""Rows of the quantile axis: 2.5, 16, 50, 84 and 97.5 %."""

CANONICAL = 1.4
"""Solar masses of the star whose radius is spoken of first."""

STAGES = ("ensemble", "network-fixed", "network-known", "posterior", "posterior-all", "calibration")
"""Folders of the stages, each with a report of its own where one was built."""

_AXES = {"mass_radius": "mass", "pressure_density": "energy_density", "sound_speed": ""}
_BANDS = ("prior", "posterior", "posterior_all")


@dataclass(frozen=True)
class Estimate:
    """A number with its standard deviation and, where known, its 95 % interval and unequal errors."""

    mean: float
    sd: float
    low: float | None = None
    high: float | None = None
    errors: tuple[float, float] | None = None
    """Below and above, of a skewed distribution whose median stands for its mean."""


@dataclass(frozen=True)
class Study(Record):
    """A finished study."""

    compared: Mapping[str, Arrays]
    """Groups of ``comparison.h5``."""
    calibrated: Mapping[str, Arrays]
    """Groups ``weights`` and ``exchange`` of ``calibration/calibration.h5``."""
    built: tuple[str, ...]
    """Those of `STAGES` that have a report."""

    @property
    def posterior(self) -> str:
        """What the posterior is called: an exact one beside networks, which come near it."""
        return "posterior" if self.members("mass_radius") is None else "exact posterior"

    @property
    def density_ratio(self) -> float | None:
        """Energy densities at the upper and the lower end of the segments; None where it is the usual one."""
        return finite(self.part("options").get("density_ratio"))

    def part(self, name: str) -> Mapping[str, Any]:
        """Return an item of the summary that is a table; an empty one where it is missing or null."""
        found = self.summary.get(name)
        return found if isinstance(found, Mapping) else {}

    def items(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Return an item of the summary that is a list of tables; an empty one where it is missing or null."""
        found = self.summary.get(name)
        return found if isinstance(found, list) else []

    def axis(self, group: str) -> np.ndarray:
        """Return the masses or energy densities, (n,), along which a group's bands run."""
        return self.compared[group][_AXES[group]]

    def bands(self, group: str, name: str) -> np.ndarray | None:
        """Return the quantiles (5, n) of ``prior``, ``posterior`` or ``posterior_all``; None where nothing is known."""
        return _known(self.compared.get(group, {}).get(name))

    def members(self, group: str) -> np.ndarray | None:
        """Return what each network of the ensemble says, (members, n); None where there is none."""
        return _known(self.compared.get(group, {}).get("members"))

    def answers(self, group: str) -> list[str]:
        """Name what a group has: prior, networks, exact posterior of 5 segments."""
        model = self.part("posterior").get("name")
        known = {
            "prior": self.bands(group, "prior"),
            "networks": self.members(group),
            f"{self.posterior} of {model}" if model else self.posterior: self.bands(group, "posterior"),
        }
        return [name for name, rows in known.items() if rows is not None]

    def prior_at(self, group: str, at: float) -> Estimate | None:
        """Return a radius or pressure at a place under the prior: median with its 68 and 95 % intervals.

        Its standard deviation is half the former.
        """
        rows = self.bands(group, "prior")
        if rows is None:
            return None
        low, lower, middle, upper, high = (float(np.interp(at, self.axis(group), row)) for row in rows)
        if not np.isfinite(high - low):
            return None
        return Estimate(middle, 0.5 * (upper - lower), low, high, (middle - lower, upper - middle))

    def networks_at(self, group: str, at: float) -> Estimate | None:
        """Return a radius or pressure by the networks: mean and standard deviation over those that reach it."""
        rows = self.members(group)
        if rows is None:
            return None
        said = np.array([np.interp(at, self.axis(group), row) for row in rows])
        said = said[np.isfinite(said)]
        if not said.size:
            return None
        return Estimate(float(said.mean()), float(said.std(ddof=1)) if said.size > 1 else 0.0)

    def prior_radius(self) -> Estimate | None:
        """Return what the prior says of the radius of the star of `CANONICAL` mass."""
        return self.prior_at("mass_radius", CANONICAL)

    def network_radius(self) -> Estimate | None:
        """Return what the networks say of it."""
        return self.networks_at("mass_radius", CANONICAL)

    def sampled(self, name: str, which: str = "posterior") -> Estimate | None:
        """Return a derived number or a parameter of ``posterior`` or ``posterior_all``, such as ``radius[1.4]``."""
        part = self.part(which)
        known = {**(part.get("parameters") or {}), **(part.get("derived") or {})}.get(name) or {}
        mean, sd = finite(known.get("mean")), finite(known.get("sd"))
        if mean is None or sd is None:
            return None
        return Estimate(mean, sd, finite(known.get("2.5%")), finite(known.get("97.5%")))


def load(folder: Path) -> Study:
    """Read the study in `folder`.

    Raises
    ------
    InputError
        It is no run folder of this study, is not finished, or holds a damaged file.
    """
    record = finished_study(folder)
    comparison = record.folder / "comparison.h5"
    compared = _groups(comparison, (*_AXES, "radius_error"))
    _check(comparison, compared)
    return Study(
        **vars(record),
        compared=compared,
        calibrated=_groups(record.folder / "calibration" / "calibration.h5", ("weights", "exchange")),
        built=tuple(name for name in STAGES if (record.folder / name / "report.html").is_file()),
    )


def _groups(file: Path, names: Sequence[str]) -> dict[str, Arrays]:
    # Imported here: h5py may be built on MPI, which a mere import of the report must not start.
    from hpc_ds.store.netcdf import list_groups, read_group

    if not file.exists():
        return {}
    try:
        present = list_groups(file)
        return {name: read_group(file, name) for name in names if name in present}
    except (OSError, InputError) as error:
        raise InputError(
            f"{file}: cannot be read as HDF5 ({error}); run the study's command again"
        ) from error


def _check(file: Path, compared: Mapping[str, Arrays]) -> None:
    """Refuse bands that do not fit their axis."""
    for group, axis in _AXES.items():
        arrays = compared.get(group, {})
        if axis and arrays and axis not in arrays:
            raise InputError(f"{file}: group {group} has no {axis}; run the study's command again")
        for name in (*_BANDS, "members"):
            shape = np.shape(arrays.get(name, ()))
            width = len(arrays[axis]) if axis and arrays else (shape or (0,))[-1]
            rows = 5 if name in _BANDS else (shape or (0,))[0]
            if name in arrays and shape != (rows, width):
                raise InputError(
                    f"{file}: {group}/{name} has shape {shape}, not ({rows}, {width}); run the study's command again"
                )


def _known(array: Any) -> np.ndarray | None:
    return None if array is None or not np.isfinite(array).any() else np.asarray(array, dtype=float)
