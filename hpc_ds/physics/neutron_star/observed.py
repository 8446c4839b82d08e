"""Observed neutron stars: published masses and radii with their errors, and a reader of one's own."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown
from hpc_ds.runtime.toml import read_toml

Array = NDArray[np.float64]
Errors = tuple[float, float]
"""Standard errors below and above a value, both positive: ``value -below +above``, a 68 % interval."""

KINDS = ("pulse profile", "mass", "quiescent", "burster")
"""How a star was measured: its pulse profile, its companion's orbit, its quiescent spectrum, its bursts."""


@dataclass(frozen=True)
class Observation:
    """One published measurement of a star.

    Errors may differ below and above. `log_likelihood` takes them as they are; where one number is needed, as for the
    input of a network, `mass_sd` and `radius_sd` are half the 68 % interval, and the value stays what was published.
    What a publication says about the correlation of mass and radius is not in here: where it matters, take a grid
    (`hpc_ds.physics.neutron_star.likelihoods.read_grid`).

    Raises
    ------
    InputError
        A value that is not positive, or has no error, or one that is not positive.
    """

    name: str
    kind: str
    """One of `KINDS`."""
    mass: float
    """Solar masses."""
    mass_errors: Errors
    radius: float | None = None
    """Equatorial radius in km; None where only the mass is known."""
    radius_errors: Errors | None = None
    source: str = ""
    """Publication."""
    method: str = ""
    """Model or atmosphere, and how mean and error came about."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"star {self.name}: kind {self.kind!r}: one of {', '.join(KINDS)} is needed")
        _check(self.name, "mass", self.mass, self.mass_errors)
        if self.radius is not None:
            _check(self.name, "radius", self.radius, self.radius_errors)
        elif self.radius_errors is not None:
            raise InputError(f"star {self.name}: has an error of the radius but no radius")

    @property
    def mass_sd(self) -> float:
        """Half the 68 % interval of the mass, in solar masses."""
        return 0.5 * sum(self.mass_errors)

    @property
    def radius_sd(self) -> float | None:
        """Half the 68 % interval of the radius, in km."""
        return None if self.radius_errors is None else 0.5 * sum(self.radius_errors)

    def log_likelihood(self, mass: ArrayLike, radius: ArrayLike) -> Array:
        """Return the log-density of what was measured, were these the mass (Msun) and the radius (km).

        Each is a split normal: half a Gaussian of either error on either side of the value, continuous there. Mass and
        radius count as independent. The radius is of no account where only the mass was measured.
        """
        found = split_normal(mass, self.mass, self.mass_errors)
        if self.radius is None or self.radius_errors is None:
            return found
        return found + split_normal(radius, self.radius, self.radius_errors)


def split_normal(x: ArrayLike, value: float, errors: Errors) -> Array:
    """Return the log-density of a split normal: standard deviation ``errors[0]`` below `value`, ``errors[1]`` above."""
    away = np.asarray(x, dtype=np.float64) - value
    z = away / np.where(away < 0.0, *errors)
    return 0.5 * math.log(2.0 / math.pi) - math.log(sum(errors)) - 0.5 * z**2


def observed_stars(kinds: Collection[str] = KINDS) -> tuple[Observation, ...]:
    """Return one measurement of each star of `OBSERVED`, the first one of these kinds.

    Two measurements of one star share its photons or its mass and must not be multiplied: J0740+6620's radius was found
    with the mass that its companion's orbit gives.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"kind '{kind}': {unknown(kind, KINDS)}")
    first: dict[str, Observation] = {}
    for star in OBSERVED:
        if star.kind in kinds:
            first.setdefault(star.name, star)
    return tuple(first.values())


def read_observations(path: str | os.PathLike[str]) -> tuple[Observation, ...]:
    """Read stars from a TOML file.

    It has a table ``[[star]]`` for each, with ``name``, ``mass`` and ``mass_errors``, perhaps ``radius`` and
    ``radius_errors``, and perhaps ``kind`` ("mass" or "pulse profile" by default), ``source`` and ``method``. Errors
    are one number, or two: below and above.

    Raises
    ------
    InputError
        In one line: the file cannot be read, a star lacks a name, a value or its error, has two of the same name, or
        a number is not positive.
    """
    return tuple(observation_of(where, table) for where, table in read_star_tables(path, KEYS).items())


KEYS = ("name", "kind", "mass", "mass_errors", "radius", "radius_errors", "source", "method")
"""What the table of a star may have where its mass, and perhaps its radius, are numbers with errors."""


def read_star_tables(path: str | os.PathLike[str], keys: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Read the tables ``[[star]]`` of a TOML file, by where they stand: ``"stars.toml, star 1"``.

    Raises
    ------
    InputError
        In one line: the file cannot be read or has something else, a star has no name or a key that is none of `keys`,
        or two have one name.
    """
    file = os.fspath(path)
    content = read_toml(file)
    for key in content:
        if key != "star":
            raise InputError(
                f"{file}: '{key}': {unknown(key, ['star'])}; [[star]] for each observed star is needed"
            )
    tables = content.get("star")
    if not isinstance(tables, list) or not tables:
        raise InputError(f"{file}: has no [[star]]; one for each observed star is needed")
    found = {f"{file}, star {i}": table for i, table in enumerate(tables, 1)}
    names: list[str] = []
    for where, table in found.items():
        names.append(_checked_name(where, table, keys))
        if names.count(names[-1]) > 1:
            raise InputError(f"{file}: star {names[-1]} stands twice; one measurement of each is needed")
    return found


def _checked_name(where: str, table: Any, keys: Collection[str]) -> str:
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: a table is needed")
    for key in table:
        if key not in keys:
            raise InputError(f"{where}: '{key}': {unknown(key, keys)}")
    name = table.get("name")
    if not isinstance(name, str) or not name.strip():
        raise InputError(
            f"{where}: has no name" if name is None else f"{where}: name {name!r}: a text is needed"
        )
    return name


def observation_of(where: str, table: Mapping[str, Any]) -> Observation:
    """Return the measurement in a table of `KEYS` that has a name; messages begin with `where`."""
    if "mass" not in table:
        raise InputError(f"{where}: has no mass")
    given = {key: value for key, value in table.items() if not key.endswith("_errors")}
    given.setdefault("kind", "pulse profile" if "radius" in table else "mass")
    errors = {key: _pair(table.get(key)) for key in ("mass_errors", "radius_errors")}
    try:
        return Observation(**given, **errors)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _pair(errors: Any) -> Any:
    return (errors, errors) if _is_number(errors) else tuple(errors) if isinstance(errors, list) else errors


def _check(star: str, what: str, value: Any, errors: Any) -> None:
    """Refuse a value or an error that is missing or not positive."""
    if not _is_positive(value):
        raise InputError(f"star {star}: {what} {value!r}: a positive number is needed")
    if errors is None:
        raise InputError(f"star {star}: its {what} {value:g} has no error; give {what}_errors")
    if not isinstance(errors, tuple) or len(errors) != 2 or not all(map(_is_positive, errors)):
        raise InputError(
            f"star {star}: {what}_errors {errors!r}: a positive number, or two (below, above), is needed"
        )


def _is_positive(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value > 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _star(
    name: str, kind: str, radius: tuple[float, ...], mass: tuple[float, ...], source: str, method: str
) -> Observation:
    """Return a measurement of both; ``(value, below, above)`` or ``(value, standard deviation)``."""
    (r, *r_errors), (m, *m_errors) = radius, mass
    return Observation(
        name, kind, m, (m_errors[0], m_errors[-1]), r, (r_errors[0], r_errors[-1]), source, method
    )


_VURGUN = "Vurgun et al. 2022, ApJ 941, 76"
_BOGDANOV = "Bogdanov et al. 2016, ApJ 831, 184"
_HEINKE = "Heinke et al. 2014, MNRAS 444, 443"
_ECHIBURU = "Echiburu et al. 2020, MNRAS 495, 4508"
_SHAW = "Shaw et al. 2018, MNRAS 476, 4713"
_GUILLOT = "Guillot et al. 2013, ApJ 772, 7"
_STEINER = "Steiner, Lattimer & Brown 2013, ApJ 765, L5"
_LATTIMER = "Lattimer & Steiner 2014, EPJ A 50, 40"
_NATTILA = "Nattila et al. 2016, A&A 591, A25"
_GRID = "mean and standard deviation of the published probabilities"
_CONTOUR = "from the 68 % contour, as if of a Gaussian"  # `likelihoods.contour_moments`

OBSERVED: tuple[Observation, ...] = (
    _star(
        "J0030+0451",
        "pulse profile",
        (12.71, 1.19, 1.14),
        (1.34, 0.16, 0.15),
        "Riley et al. 2019, ApJ 887, L21",
        "ST+PST",
    ),
    _star(
        "J0030+0451",
        "pulse profile",
        (13.02, 1.06, 1.24),
        (1.44, 0.14, 0.15),
        "Miller et al. 2019, ApJ 887, L24",
        "three spots",
    ),
    _star(
        "J0030+0451",
        "pulse profile",
        (11.71, 0.83, 0.88),
        (1.40, 0.12, 0.13),
        "Vinciguerra et al. 2024, ApJ 961, 62",
        "ST+PDT",
    ),
    _star(
        "J0030+0451",
        "pulse profile",
        (14.44, 1.05, 0.88),
        (1.70, 0.19, 0.18),
        "Vinciguerra et al. 2024, ApJ 961, 62",
        "PDT-U",
    ),
    _star(
        "J0740+6620",
        "pulse profile",
        (12.39, 0.98, 1.30),
        (2.072, 0.066, 0.067),
        "Riley et al. 2021, ApJ 918, L27",
        "ST-U",
    ),
    _star(
        "J0740+6620",
        "pulse profile",
        (13.7, 1.5, 2.6),
        (2.08, 0.07),
        "Miller et al. 2021, ApJ 918, L28",
        "two spots",
    ),
    _star(
        "J0437-4715",
        "pulse profile",
        (11.36, 0.63, 0.95),
        (1.418, 0.037),
        "Choudhury et al. 2024, ApJ 971, L20",
        "CST+PDT",
    ),
    Observation(
        "J0348+0432",
        "mass",
        2.01,
        (0.04, 0.04),
        source="Antoniadis et al. 2013, Science 340, 448",
        method="spectroscopy of the white dwarf",
    ),
    Observation(
        "J0740+6620",
        "mass",
        2.08,
        (0.07, 0.07),
        source="Fonseca et al. 2021, ApJ 915, L12",
        method="Shapiro delay",
    ),
    Observation(
        "J0740+6620",
        "mass",
        1.99,
        (0.07, 0.07),
        source="Agazie et al. 2023, ApJ 951, L9",
        method="Shapiro delay",
    ),
    Observation(
        "J1614-2230",
        "mass",
        1.937,
        (0.014, 0.014),
        source="Agazie et al. 2023, ApJ 951, L9",
        method="Shapiro delay",
    ),
    Observation(
        "J1614-2230",
        "mass",
        1.908,
        (0.016, 0.016),
        source="Arzoumanian et al. 2018, ApJS 235, 37",
        method="Shapiro delay",
    ),
    _star("M13", "quiescent", (12.35, 1.94), (1.46, 0.26), _SHAW, f"hydrogen; {_GRID}"),
    _star("M13", "quiescent", (12.96, 2.35), (1.91, 0.37), _SHAW, f"helium; {_GRID}"),
    _star("M28", "quiescent", (9.71, 1.85), (1.21, 0.48), _VURGUN, f"hydrogen; {_CONTOUR}"),
    _star("M28", "quiescent", (14.29, 2.82), (1.56, 0.74), _VURGUN, f"helium; {_CONTOUR}"),
    _star("M30", "quiescent", (10.67, 1.46), (1.10, 0.39), _ECHIBURU, f"helium; {_GRID}"),
    _star("M30", "quiescent", (7.79, 0.61), (0.82, 0.22), _ECHIBURU, f"hydrogen; {_GRID}"),
    _star(
        "NGC 6304",
        "quiescent",
        (11.93, 3.15),
        (1.52, 0.63),
        _GUILLOT,
        f"hydrogen, data of then processed anew in 2017; {_CONTOUR}",
    ),
    _star("NGC 6397", "quiescent", (9.89, 2.13), (1.17, 0.46), _HEINKE, f"helium; {_CONTOUR}"),
    _star("NGC 6397", "quiescent", (7.48, 0.95), (0.93, 0.31), _HEINKE, f"hydrogen; {_CONTOUR}"),
    _star("omega Cen", "quiescent", (10.73, 1.85), (1.26, 0.56), _HEINKE, f"hydrogen; {_CONTOUR}"),
    _star("47 Tuc X5", "quiescent", (9.88, 1.27), (1.16, 0.45), _BOGDANOV, f"hydrogen; {_CONTOUR}"),
    _star("47 Tuc X7", "quiescent", (10.83, 1.40), (1.39, 0.43), _BOGDANOV, f"hydrogen; {_CONTOUR}"),
    _star("47 Tuc X7", "quiescent", (13.96, 2.09), (1.54, 0.59), _BOGDANOV, f"helium; {_CONTOUR}"),
    _star("4U 1608-52", "burster", (9.76, 2.88), (1.89, 0.30), _STEINER, _GRID),
    _star("4U 1724-307", "burster", (10.89, 1.12), (1.43, 0.41), _NATTILA, _GRID),
    _star("4U 1820-30", "burster", (8.81, 2.22), (1.80, 0.23), _STEINER, _GRID),
    _star("EXO 1745-248", "burster", (8.74, 2.22), (1.50, 0.26), _STEINER, _GRID),
    _star("KS 1731-260", "burster", (9.09, 2.37), (1.60, 0.36), _STEINER, _GRID),
    _star("SAX J1748.9-2021", "burster", (9.67, 2.92), (1.66, 0.28), _LATTIMER, _GRID),
    _star("4U 1702-429", "burster", (11.73, 1.13), (1.50, 0.47), _NATTILA, _GRID),
    _star("SAX J1810.8-2609", "burster", (10.97, 1.09), (1.44, 0.42), _NATTILA, _GRID),
)
"""Published measurements; where a star has several, the first is the one that `observed_stars` takes.

The eight quiescent stars and the first six bursters are those of Fujimoto, Fukushima & Murase (2020), not with the
numbers that they used but with those of the publications named. For M30 and NGC 6397 helium stands first: hydrogen
makes M30 too small for nearly all matter, and the companion in NGC 6397 lacks it, as the publications themselves say.
"""

FOURTEEN = tuple(dict.fromkeys(star.name for star in OBSERVED if star.kind in ("quiescent", "burster")))[:14]
"""Names of those fourteen, in the order of `OBSERVED`."""
