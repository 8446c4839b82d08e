"""Read equations of state from files of the layouts that neutron-star codes use, and refuse what cannot be one."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hpc_ds.physics.neutron_star.eos import EosBatch, pressure_at
from hpc_ds.physics.neutron_star.families import from_rows, read_2009, smooth_rows
from hpc_ds.physics.neutron_star.units import DYN_PER_CM2, GRAM_PER_CM3, MEV_PER_FM3, PER_M2
from hpc_ds.runtime.errors import InputError

Array = NDArray[np.float64]
Interpolation = Literal["cubic", "linear"]


@dataclass(frozen=True)
class Layout:
    """Which columns of a table are energy density and pressure (counted from 0), and their units in MeV/fm3."""

    columns: tuple[int, ...]
    """Numbers of columns that such a file may have."""
    energy_density: int
    pressure: int
    density_unit: float
    pressure_unit: float
    meaning: str


_GRAM, _DYN, _PER_M2 = MEV_PER_FM3 / GRAM_PER_CM3, MEV_PER_FM3 / DYN_PER_CM2, MEV_PER_FM3 / PER_M2

LAYOUTS = {
    "rns": Layout((2, 3, 4), 0, 1, _GRAM, _DYN, "e/c2 (g/cm3), p (dyn/cm2), h (cm2/s2), n (cm-3)"),
    "lalsimulation": Layout((2,), 1, 0, _PER_M2, _PER_M2, "p (m-2), e (m-2)"),
    "mev": Layout((2, 3), 1, 0, 1.0, 1.0, "p (MeV/fm3), e (MeV/fm3), n (fm-3)"),
    "mixed": Layout((3,), 1, 2, _GRAM, 1.0, "n (fm-3), e/c2 (g/cm3), p (MeV/fm3)"),
    "lorene": Layout((4, 9), 2, 3, _GRAM, _DYN, "row, n (fm-3), e/c2 (g/cm3), p (dyn/cm2)"),
}
"""Layouts by name. An rns file has the number of its rows in line 1."""

_FEWEST_ROWS = 10
_NEGLIGIBLE_PRESSURE = 1e-15 * MEV_PER_FM3  # 6e2 g/cm3 c^2: what lies above weighs 1e-10 of a star
# Where all equations of state of neutron stars are alike; the second because in the crust numbers that are all off by a
# factor of a thousand look like those of the crust elsewhere.
_PROBES = ((1e11 * _GRAM, 6e14 * _GRAM), (2e14 * _GRAM, 6e14 * _GRAM))
_LIKENESS = 5.0  # a factor of the pressure there; wrong units are off by ten powers of ten
# MeV/fm3 at the end of a table: of its energy density, from 9e10 to 4e17 g/cm3 c^2, and of its pressure.
_HIGHEST = ((0.05, 2e5), (1e-6, 2e5))
_MOST_STIFF = 10.0  # pressures in energy densities: beyond what any matter has, causal or not
_OTHER_UNITS = (
    (1e-3 * _GRAM, 10.0 * _DYN, "e/c2 in kg/m3, p in Pa"),
    (1e-3 * _GRAM, _DYN, "e/c2 in kg/m3, p in dyn/cm2"),
    (_DYN, _DYN, "e in erg/cm3, p in dyn/cm2"),
    (10.0 * _DYN, 10.0 * _DYN, "e in J/m3, p in Pa"),
    (1e-6 * _PER_M2, 1e-6 * _PER_M2, "e and p in km-2"),
    (MEV_PER_FM3, MEV_PER_FM3, "e and p in units of G = c = solar mass = 1"),
)
_ROUNDING = 1e-3  # by which a table's printed digits may take the speed of sound beyond that of light


def read_table(
    path: str | os.PathLike[str],
    layout: str | None = None,
    *,
    interpolation: Interpolation = "cubic",
    allow_acausal: bool = False,
    leave_out_falls: bool = False,
) -> EosBatch:
    """Read the equation of state in a text file.

    Lines that begin with ``#`` are comments. Rows with less pressure than a star's outermost metres have, and rows of
    zeros, are left out. Two rows of equal pressure are a first-order transition; a first row with a density and no
    pressure is the surface of self-bound matter.

    Parameters
    ----------
    path : path
    layout : str, optional
        A name of `LAYOUTS`. By default the one by which the pressure is that of known matter, to a factor of 5, between
        1e11 and 6e14 g/cm3 and between 2e14 and 6e14.
    interpolation : "cubic" or "linear"
        Of ln p against ln e. Straight lines between the rows of a coarse table move masses by per cents.
    allow_acausal : bool
        Take a table even though its pressure somewhere rises faster than its energy density.
    leave_out_falls : bool
        Leave out rows whose density or pressure lies below that of an earlier row, rather than refuse the table.

    Returns
    -------
    EosBatch
        Of one equation, known up to the last row.

    Raises
    ------
    InputError
        The file cannot be read, holds something else than numbers, has fewer than 10 rows or another number than its
        first line says, has no layout or an unknown one, has numbers that are no neutron star's in the units of the
        layout named, does not grow from row to row, or is acausal.
    """
    name = os.fspath(path)
    values, lines = _read_rows(name)
    energy_density, pressure = _in_mev(name, values, layout)
    if leave_out_falls:
        kept = _rising(energy_density, pressure)
        energy_density, pressure, lines = energy_density[kept], pressure[kept], lines[kept]
    _check_growth(name, lines, energy_density, pressure)
    if not allow_acausal:
        _check_causality(name, lines, energy_density, pressure)
    if pressure[0] > 0.0:
        kept = pressure > _NEGLIGIBLE_PRESSURE
        energy_density, pressure = energy_density[kept], pressure[kept]
    rows = (energy_density, pressure)
    return from_rows(*(smooth_rows(*rows) if interpolation == "cubic" else rows))


def _read_rows(name: str) -> tuple[Array, NDArray[np.int64]]:
    """Return the numbers of a file, (rows, columns), and the number of each row's line."""
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InputError(f"{name}: cannot be read ({reason}); a table of numbers is needed") from None
    rows = [
        (number, line.split())
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if rows and len(rows[0][1]) == 1:
        rows = _without_count(name, rows)
    if len(rows) < _FEWEST_ROWS:
        raise InputError(f"{name}: found {len(rows)} rows; at least {_FEWEST_ROWS} are needed")
    width = len(rows[0][1])
    values = np.array([_numbers(name, number, cells, width) for number, cells in rows])
    zero = (values == 0.0).all(axis=1)
    return values[~zero], np.array([number for number, _ in rows])[~zero]


def _without_count(name: str, rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return the rows behind the first line of an rns file, which says how many there are."""
    count = rows[0][1][0]
    if not count.isdecimal() or int(count) != len(rows) - 1:
        raise InputError(
            f"{name}, line {rows[0][0]}: found {count!r} as the number of rows; there are {len(rows) - 1}"
        )
    return rows[1:]


def _numbers(name: str, line: int, cells: list[str], width: int) -> list[float]:
    """Return the numbers of one row."""
    if len(cells) != width:
        raise InputError(f"{name}, line {line}: found {len(cells)} columns; the first row has {width}")
    try:
        numbers = [float(cell.replace("D", "E")) for cell in cells]
    except ValueError:
        raise InputError(f"{name}, line {line}: found {' '.join(cells)[:40]!r}; numbers are needed") from None
    if not np.isfinite(numbers).all():
        raise InputError(f"{name}, line {line}: found {' '.join(cells)[:40]!r}; finite numbers are needed")
    return numbers


def _in_mev(name: str, values: Array, layout: str | None) -> tuple[Array, Array]:
    """Return energy densities and pressures in MeV/fm3 by a layout, found out where none is named."""
    width = values.shape[1]
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"layout '{layout}': one of {', '.join(LAYOUTS)} is needed")
    fitting = {key: _columns(values, one) for key, one in LAYOUTS.items() if width in one.columns}
    if layout is not None:
        if layout not in fitting:
            raise InputError(f"{name}: found {width} columns; layout '{layout}' is {LAYOUTS[layout].meaning}")
        _check_units(name, values, layout)
        return fitting[layout]
    alike = [key for key, columns in fitting.items() if _is_nuclear(*columns)]
    if len(alike) != 1:
        raise InputError(
            f"{name}: {width} columns in unknown units: as none or several of the layouts {', '.join(LAYOUTS)} is its "
            "pressure that of known matter; name its layout"
        )
    return fitting[alike[0]]


def _check_units(name: str, values: Array, layout: str) -> None:
    """Refuse numbers that are no neutron star's in the units of a layout that was named."""
    energy_density, pressure = _columns(values, LAYOUTS[layout])
    sound = (energy_density > 0.0) & (pressure > 0.0)
    if not sound.any():  # `_check_growth` says which row
        return
    highest = energy_density.max(), pressure.max()
    possible = all(low < value < high for value, (low, high) in zip(highest, _HIGHEST, strict=True))
    if possible and np.max(pressure[sound] / energy_density[sound]) < _MOST_STIFF:
        return
    likely = _likely_units(values, LAYOUTS[layout])
    raise InputError(
        f"{name}: by layout '{layout}' up to e = {highest[0]:.3g} and p = {highest[1]:.3g} MeV/fm3, which no neutron "
        f"star has; {f'likely it has {likely}' if likely else f'needed are {LAYOUTS[layout].meaning}'}"
    )


def _likely_units(values: Array, layout: Layout) -> str:
    """Return the units in which the pressure is that of known matter, in this layout's columns or in others'."""
    for key, other in LAYOUTS.items():
        if values.shape[1] in other.columns and _is_nuclear(*_columns(values, other)):
            return f"layout '{key}': {other.meaning}"
    for density_unit, pressure_unit, meaning in _OTHER_UNITS:
        units = replace(layout, density_unit=density_unit, pressure_unit=pressure_unit)
        if _is_nuclear(*_columns(values, units)):
            return f"{meaning}; convert them"
    return ""


def _columns(values: Array, layout: Layout) -> tuple[Array, Array]:
    energy_density = values[:, layout.energy_density] * layout.density_unit
    return energy_density, values[:, layout.pressure] * layout.pressure_unit


def _is_nuclear(energy_density: Array, pressure: Array) -> bool:
    """Whether the pressure is roughly that of SLy where all matter is alike."""
    found = []
    for low, high in _PROBES:
        probed = (energy_density > low) & (energy_density < high) & (pressure > 0.0)
        if probed.any():
            known = pressure_at(read_2009("SLy"), energy_density[probed])[0]
            found.append(abs(np.median(np.log(pressure[probed] / known))))
    return bool(found) and bool(max(found) < np.log(_LIKENESS))


def _rising(energy_density: Array, pressure: Array) -> NDArray[np.bool_]:
    """Return which rows have more density, and at least as much pressure, as every one before."""
    before_e = np.maximum.accumulate(np.append(-np.inf, energy_density[:-1]))
    before_p = np.maximum.accumulate(np.append(-np.inf, pressure[:-1]))
    return (energy_density > before_e) & (pressure >= before_p)


def _check_growth(name: str, lines: NDArray[np.int64], energy_density: Array, pressure: Array) -> None:
    """Refuse a table that is not positive, or in which density or pressure falls."""
    positive = (energy_density > 0.0) & (pressure > 0.0)
    positive[0] = energy_density[0] > 0.0 and pressure[0] >= 0.0
    if not positive.all():
        row = int(np.argmin(positive))
        raise InputError(
            f"{name}, line {lines[row]}: energy density and pressure must be positive: found "
            f"{energy_density[row]:.6g} and {pressure[row]:.6g} MeV/fm3"
        )
    for quantity, values, falls in (
        ("energy density", energy_density, np.diff(energy_density) <= 0.0),
        ("pressure", pressure, np.diff(pressure) < 0.0),
    ):
        if falls.any():
            row = int(np.argmax(falls))
            raise InputError(
                f"{name}, line {lines[row + 1]}: {quantity} {values[row + 1]:.6g} MeV/fm3 follows "
                f"{values[row]:.6g}; it must grow from row to row (leave_out_falls passes over such rows)"
            )


def _check_causality(name: str, lines: NDArray[np.int64], energy_density: Array, pressure: Array) -> None:
    """Refuse a table in which sound is faster than light."""
    speed = np.diff(pressure) / np.diff(energy_density)
    fast = np.flatnonzero(speed > 1.0 + _ROUNDING)
    if len(fast):
        row = int(fast[0])
        raise InputError(
            f"{name}, line {lines[row + 1]}: the pressure rises {speed[row]:.4g} times as much as the energy density: "
            "sound would be faster than light (allow_acausal takes the table as it is)"
        )
