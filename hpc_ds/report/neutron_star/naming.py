"""Name what the neutron-star study speaks of: stars, networks, quantities, segments of density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hpc_ds.report.wording import count, finite, spoken

_SMALL = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty")
_WORDS = _SMALL + _TEENS
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_KINDS = {
    "quiescent": "quiescent",
    "burster": "bursters",
    "pulse profile": "pulse profiles",
    "mass": "masses only",
}
_SHAPES = {"quiescent": "dots", "burster": "squares", "pulse profile": "diamonds", "mass": "triangles"}


def number(value: int) -> str:
    """Write a small number as a word."""
    return _WORDS[value] if 0 <= value < len(_WORDS) else count(value)


def stars(observed: Sequence[Any]) -> str:
    """Write how many stars there are."""
    return f"{number(len(observed))} observed {'star' if len(observed) == 1 else 'stars'}"


def networks(members: int) -> str:
    """Write how many networks there are."""
    return f"{number(members)} {'network' if members == 1 else 'networks'}"


def star(one: Mapping[str, Any]) -> str:
    """Write one star with its numbers, for the reader who points at it."""
    radius = "" if one.get("radius") is None else f", {measured(one, 'radius')} km"
    known = one.get("source") or one.get("kind")
    return f"{one['name']}: {measured(one, 'mass')} solar masses{radius}{f' ({known})' if known else ''}"


def measured(one: Mapping[str, Any], what: str) -> str:
    """Write the mass or radius of a star with its errors, down to their third digit: published ones have no more."""
    value, errors = finite(one.get(what)), one.get(f"{what}_errors")
    if value is None or not errors:
        return "–"
    decimals = 2 - math.floor(math.log10(min(errors) or 1.0))
    told, low, high = (f"{round(number, decimals):.10g}" for number in (value, *errors))
    return f"{told} ± {low}" if low == high else f"{told} −{low} +{high}"


def kind_of(one: Mapping[str, Any]) -> str:
    """Return how a star was measured; a radius that is not there makes it one of mass."""
    return "mass" if one.get("radius") is None else str(one.get("kind") or "others")


def markers(observed: Sequence[Mapping[str, Any]]) -> str:
    """Say which marker stands for which kind of star."""
    kinds = dict.fromkeys(kind_of(one) for one in observed)
    return spoken([f"{_KINDS.get(kind, kind)}: {_SHAPES.get(kind, 'dots')}" for kind in kinds])


def quantity(name: str) -> str:
    """Write the name of what is judged: ``c₃²``, ``R(1.4)``, ``maximum mass``."""
    if name.startswith("c2_"):
        return f"c{name[3:].translate(_SUBSCRIPTS)}²"
    if name.startswith("radius[") and name.endswith("]"):
        return f"R({float(name[7:-1]):.1f})"
    return {"maximum_mass": "max. mass"}.get(name, name)


def edges(segments: int, ratio: float | None = None) -> list[float]:
    """Return the energy densities between segments in units of nuclear density, from 1 to `ratio`."""
    highest = ratio or _usual_ratio()
    return [highest ** (place / segments) for place in range(segments + 1)]


def segments(number_of: int, ratio: float | None = None) -> list[str]:
    """Write the range of each segment in units of nuclear density."""
    ends = [f"{end:.1f}".removesuffix(".0") for end in edges(number_of, ratio)] if number_of else []
    return [f"{low}–{high}" for low, high in pairwise(ends)]


def nuclear_density() -> float:
    """Return the energy density of nuclear saturation in MeV/fm³."""
    # Imported here: physics brings compiled code along, which a mere import of the report does not need.
    from hpc_ds.physics.neutron_star.units import NUCLEAR_DENSITY

    return float(NUCLEAR_DENSITY)


def _usual_ratio() -> float:
    """Return the energy densities at the ends of the segments where nobody asked for others."""
    from hpc_ds.physics.neutron_star.families import DENSITY_RATIO  # as above

    return DENSITY_RATIO
