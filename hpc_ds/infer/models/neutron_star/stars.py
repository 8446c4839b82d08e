"""Stars as a user names them: published ones, and one's own from a TOML file, as numbers, grids or samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_ds.infer.models.neutron_star.observations import (
    GaussianStar,
    LikelihoodGrid,
    MeasuredMass,
    Observation,
    SplitStar,
    star_grid,
    star_samples,
)
from hpc_ds.physics.neutron_star.likelihoods import Grid, read_grid, read_samples
from hpc_ds.physics.neutron_star.observed import (
    KEYS,
    KINDS,
    observation_of,
    observed_stars,
    read_star_tables,
)
from hpc_ds.physics.neutron_star.observed import Observation as Published
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.suggest import unknown

SAMPLE_COLUMNS = ("mass", "radius")


@dataclass(frozen=True, eq=False)
class Star:
    """An observed star: its likelihood, and what a reader wants to know of it."""

    likelihood: Observation
    form: str
    """``errors``, ``grid`` or ``samples``."""
    kind: str = ""
    """One of `hpc_ds.physics.neutron_star.observed.KINDS`, or nothing."""
    source: str = ""
    """Publication."""
    method: str = ""

    @property
    def name(self) -> str:
        """Of the star."""
        return self.likelihood.name

    @property
    def has_radius(self) -> bool:
        """Whether more than its mass is known."""
        return self.describe()["radius"] is not None

    def describe(self) -> dict[str, Any]:
        """Return name, kind, form, mass, radius, their errors below and above, source and method, for a summary.

        Of a grid and of samples: means and standard deviations.
        """
        mass, mass_errors, radius, radius_errors = _numbers_of(self.likelihood)
        return {
            "name": self.name,
            "kind": self.kind,
            "form": self.form,
            "mass": mass,
            "mass_errors": list(mass_errors),
            "radius": radius,
            "radius_errors": None if radius_errors is None else list(radius_errors),
            "source": self.source,
            "method": self.method,
        }


def published_stars(kinds: Collection[str] = KINDS) -> list[Star]:
    """Return one measurement of each published star of these kinds (`hpc_ds.physics.neutron_star.observed`)."""
    return [_of_published(star) for star in observed_stars(kinds)]


def read_stars(path: str | os.PathLike[str]) -> list[Star]:
    """Read stars from a TOML file: a table ``[[star]]`` for each, with a ``name`` and one of three likelihoods.

    ``mass`` and ``mass_errors``, perhaps ``radius`` and ``radius_errors``: numbers with errors, one number or
    ``[below, above]``; ``correlation`` of mass and radius where both errors are one number.

    ``grid``: a file of `read_grid`; in an npz file that has several, ``grid_source`` names one.

    ``samples``: a file of samples, one a row. ``columns`` says what they are: mass, radius, perhaps weight, and ``-``
    for one that is not read; ``["mass", "radius"]`` by default. ``weighted = true``: one more column has weights.

    Perhaps ``kind``, ``source`` and ``method``, which are only shown. Paths are relative to the TOML file.

    Raises
    ------
    InputError
        One line that names the file and the star, and what is wrong with it.
    """
    keys = dict.fromkeys(key for known in _FORMS.values() for key in known)
    stars = []
    for where, table in read_star_tables(path, keys).items():
        form = _form_of(where, table)
        try:
            stars.append(_READERS[form](where, table, Path(path).parent))
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from None
    return stars


def chosen_stars(stars: Sequence[Star], names: Sequence[str]) -> list[Star]:
    """Return the stars of these names, in the order of `stars`; all of them where none is named.

    Raises
    ------
    InputError
        A name that none of them has; the nearest one is told.
    """
    known = [star.name for star in stars]
    for name in names:
        if name not in known:
            raise InputError(f"--stars '{name}': {unknown(name, known)}")
    return [star for star in stars if not names or star.name in names]


_SHOWN = ("name", "kind", "source", "method")
_FORMS = {
    "errors": (*KEYS, "correlation"),
    "grid": (*_SHOWN, "grid", "grid_source"),
    "samples": (*_SHOWN, "samples", "columns", "weighted"),
}


def _form_of(where: str, table: Mapping[str, Any]) -> str:
    """Return which of `_FORMS` a table has; refuse a table of two."""
    form = next((key for key in ("grid", "samples") if key in table), "errors")
    for key in table:
        if key not in _FORMS[form]:
            what = "numbers with errors" if form == "errors" else f"its {form}"
            raise InputError(
                f"{where}: '{key}' does not go with {what}; give numbers with errors, a grid or samples"
            )
    if table.get("kind", KINDS[0]) not in KINDS:
        raise InputError(f"{where}: kind '{table['kind']}': {unknown(str(table['kind']), KINDS)}")
    return form


def _of_errors(where: str, table: Mapping[str, Any], folder: Path) -> Star:
    plain = {key: value for key, value in table.items() if key != "correlation"}
    published = observation_of(where, plain)
    if not table.get("correlation"):
        return _of_published(published)
    (error, above), radius_errors = published.mass_errors, published.radius_errors
    if radius_errors is None or published.radius is None or error != above or len(set(radius_errors)) > 1:
        raise InputError("a correlation needs a mass and a radius with one error each")
    correlation = _correlation(table["correlation"])
    star = GaussianStar(
        published.name, published.mass, error, published.radius, radius_errors[0], correlation
    )
    return Star(star, "errors", published.kind, published.source, published.method)


def _of_grid(where: str, table: Mapping[str, Any], folder: Path) -> Star:
    grid = read_grid(folder / _text(table, "grid"), table.get("grid_source"))
    return Star(star_grid(table["name"], grid), "grid", *_told(table))


def _of_samples(where: str, table: Mapping[str, Any], folder: Path) -> Star:
    columns, weighted = table.get("columns", list(SAMPLE_COLUMNS)), table.get("weighted", False)
    if not isinstance(weighted, bool):
        raise InputError(f"weighted = {weighted!r}: true or false is needed")
    _check_columns(columns, weighted)
    found = read_samples(folder / _text(table, "samples"), columns, weighted)
    weights = found["weight"] if "weight" in columns else found.weights if weighted else None
    star = star_samples(table["name"], found["mass"], found["radius"], weights)
    return Star(star, "samples", *_told(table))


_READERS: dict[str, Callable[[str, Mapping[str, Any], Path], Star]] = {
    "errors": _of_errors,
    "grid": _of_grid,
    "samples": _of_samples,
}


def _check_columns(columns: Any, weighted: bool) -> None:
    known = (*SAMPLE_COLUMNS, "weight", "-")
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise InputError(f"columns = {columns!r}: a list of texts is needed, such as {list(SAMPLE_COLUMNS)}")
    for name in columns:
        if name not in known:
            raise InputError(f"columns: '{name}': {unknown(name, known)} ('-' is not read)")
    for name in known[:-1]:
        if columns.count(name) > 1 or (name in SAMPLE_COLUMNS and name not in columns):
            raise InputError(f"columns {columns}: {name} is needed once")
    if weighted and "weight" in columns:
        raise InputError("weighted = true: the columns name the weight already; give one of both")


def _correlation(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"correlation {value!r}: a number between -1 and 1 is needed")
    return float(value)


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} = {value!r}: the name of a file is needed")
    return value


def _told(table: Mapping[str, Any]) -> tuple[str, str, str]:
    kind, source, method = (str(table.get(key, "")) for key in _SHOWN[1:])
    return kind, source, method


def _of_published(star: Published) -> Star:
    return Star(SplitStar(star), "errors", star.kind, star.source, star.method)


Numbers = tuple[float, tuple[float, float], float | None, tuple[float, float] | None]


def _numbers_of(star: Observation) -> Numbers:
    """Return mass, its errors, radius, its errors."""
    if isinstance(star, SplitStar):
        of = star.published
        return of.mass, of.mass_errors, of.radius, of.radius_errors
    if isinstance(star, LikelihoodGrid):
        return _moments(star)
    mass_errors = (star.mass_error, star.mass_error)
    if isinstance(star, MeasuredMass):
        return star.mass, mass_errors, None, None
    return star.mass, mass_errors, star.radius, (star.radius_error, star.radius_error)


def _moments(star: LikelihoodGrid) -> Numbers:
    radius, radius_sd, mass, mass_sd = Grid(star.radius, star.mass, star.likelihood.T).moments()
    return mass, (mass_sd, mass_sd), radius, (radius_sd, radius_sd)
