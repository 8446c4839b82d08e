"""Name what the neutron-star study speaks of: stars, networks, quantities, segments of density."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hpc_ds.report.wording import count, spoken

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
_RATIO = 8.0  # energy densities at the ends of the segments


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
    mass = f"{one['mass']:g} {errors(one.get('mass_errors'))} solar masses"
    radius = "" if one.get("radius") is None else f", {one['radius']:g} {errors(one.get('radius_errors'))} km"
    return f"{one['name']}: {mass}{radius} ({one.get('source') or one.get('kind')})"


def markers(observed: Sequence[Mapping[str, Any]]) -> str:
    """Say which marker stands for which kind of star."""
    kinds = dict.fromkeys(str(one.get("kind")) for one in observed)
    return spoken([f"{_KINDS.get(kind, kind)}: {_SHAPES.get(kind, 'dots')}" for kind in kinds]) or "none"


def quantity(name: str) -> str:
    """Write the name of what is judged: ``c₃²``, ``R(1.4)``, ``maximum mass``."""
    if name.startswith("c2_"):
        return f"c{name[3:].translate(_SUBSCRIPTS)}²"
    if name.startswith("radius[") and name.endswith("]"):
        return f"R({float(name[7:-1]):.1f})"
    return {"maximum_mass": "max. mass"}.get(name, name)


def edges(segments: int) -> list[float]:
    """Return the energy densities between segments in units of nuclear density, both ends included."""
    return [_RATIO ** (place / segments) for place in range(segments + 1)]


def segments(number_of: int) -> list[str]:
    """Write the range of each segment in units of nuclear density."""
    ends = [f"{end:.1f}".removesuffix(".0") for end in edges(number_of)] if number_of else []
    return [f"{low}–{high}" for low, high in pairwise(ends)]


def nuclear_density() -> float:
    """Return the energy density of nuclear saturation in MeV/fm³."""
    # Imported here: physics brings compiled code along, which a mere import of the report does not need.
    from hpc_ds.physics.neutron_star.units import NUCLEAR_DENSITY

    return float(NUCLEAR_DENSITY)


def errors(pair: Any) -> str:
    """Write the errors below and above a value."""
    low, high = pair if isinstance(pair, Sequence) and len(pair) == 2 else (math.nan, math.nan)
    return f"± {low:g}" if low == high else f"−{low:g} +{high:g}"
