"""Neutron stars of random equations of state: the prior of speeds of sound, and the stable stars of each draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hpc_ds.physics.neutron_star.curves import Curves, mass_radius_curves, radius_at, tidal_at
from hpc_ds.physics.neutron_star.eos import EosBatch, largest_sound_speed_squared, matter
from hpc_ds.physics.neutron_star.families import (
    DELTA,
    DENSITY_RATIO,
    LEAST_MAXIMUM_MASS,
    sound_speed_segments,
)
from hpc_ds.runtime.errors import InputError
from hpc_ds.runtime.options import checked
from hpc_ds.simulate.parameters import ParameterSpace
from hpc_ds.simulate.simulator import Fields, Parameters, Simulator, Skip
from hpc_ds.store.layout import Axis, Boundary, Layout, axis
from hpc_ds.store.layout import Field as Quantity

Array = NDArray[np.float64]

BLOCK = 16
"""Equations of state whose stars are computed in one call."""

_STARS = 128  # integrated along each branch; the stored ones lie between them, within 1e-4 in radius
_LIGHTEST = 0.165  # solar masses; the branches begin at 0.1611 to 0.1613 whatever the speeds of sound
_LIGHT = 1.0


class Options(BaseModel):
    """Options of ``hpc-ds simulate neutron-star``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    segments: int = Field(default=5, ge=1, le=16)
    """Segments of constant average speed of sound, equal in the logarithm of the energy density."""

    ratio: float = Field(default=DENSITY_RATIO, gt=1.0, le=100.0)
    """Energy density where they end, in units of that where they begin, 2.7e14 g/cm3; the last one goes on above."""

    delta: float = Field(default=DELTA, gt=0.0, lt=0.5)
    """The squared speeds of sound are uniform between delta and 1 - delta, in units of the speed of light."""

    points: int = Field(default=128, ge=2)
    """Stars that are stored, evenly spaced in mass."""

    lowest_mass: float = Field(default=0.2, ge=_LIGHTEST, le=1.5)
    """Mass of the first of them, in solar masses; the last one has the maximum mass."""

    least_maximum_mass: float = Field(default=LEAST_MAXIMUM_MASS, ge=0.0, allow_inf_nan=False)
    """Maximum mass, in solar masses, below which `accepted` is 0; 0 accepts all.

    1.97 is the pulsar J0348+0432, 2.01, less its standard error of 0.04; 1.93 is less by two of them, and 1.2 leaves
    out only what the lighter observed stars exclude.
    """

    strict_causality: bool = False
    """Accept only where sound is nowhere faster than light up to the centre of the heaviest star.

    The published prior bounds each segment's average only; in six of seven draws sound is faster somewhere.
    """


def build(options: Mapping[str, Any]) -> Simulator:
    """Return the simulator.

    A sample is one draw of the prior of Fujimoto, Fukushima & Murase (2018, PRD 98, 023019; 2020, PRD 101, 054016).
    What the cuts exclude is stored too, with ``accepted`` 0.

    Parameters
    ----------
    options : mapping
        Of `Options`.

    Raises
    ------
    InputError
        An option that is unknown or cannot be, or a least maximum mass that no equation of state of the prior reaches.
    """
    chosen = checked(Options, options, "neutron-star: ")
    _check_cut(chosen)
    names = speed_names(chosen.segments)
    prior = f"uniform({chosen.delta:.12g}, {1.0 - chosen.delta:.12g})"
    space = ParameterSpace.from_dict(
        {name: {"distribution": prior} for name in names}, [f"{name} > 0" for name in names]
    )
    return Simulator(
        name="neutron-star",
        space=space,
        layout=_layout(chosen, space),
        simulate_block=partial(simulate, chosen),
        block=BLOCK,
        warm_up=_warm_up,
        options=chosen.model_dump(),
    )


def simulate(
    options: Options, parameters: Sequence[Parameters], streams: Sequence[np.random.Generator]
) -> list[Fields | Exception]:
    """Return the stars of equations of state; no random numbers are drawn.

    One without a maximum mass above the lowest mass that is stored gives a `Skip`.
    """
    names = speed_names(options.segments)
    speeds = np.array([[one[name] for name in names] for one in parameters], dtype=np.float64)
    eos = sound_speed_segments(speeds, options.ratio)
    curves = mass_radius_curves(eos, points=_STARS)
    sound = largest_sound_speed_squared(eos, curves.enthalpy[:, -1])
    heavy = curves.maximum_mass >= options.least_maximum_mass
    accepted = heavy & (sound <= _LIGHT) if options.strict_causality else heavy
    fields = {
        **_stars(eos, curves, _masses(options, curves.maximum_mass)),
        "maximum_mass": curves.maximum_mass,
        "largest_sound_speed_squared": sound,
        "accepted": accepted.astype(np.float64),
    }
    return [
        {name: values[i] for name, values in fields.items()}
        if curves.ok[i] and curves.maximum_mass[i] > options.lowest_mass
        else Skip(_reason(curves, i, options.lowest_mass))
        for i in range(len(curves))
    ]


def speed_names(segments: int) -> list[str]:
    """Return the names of the squared speeds of sound, from the lowest density on."""
    return [f"c2_{i + 1}" for i in range(segments)]


def _check_cut(options: Options) -> None:
    """Refuse a cut that leaves nothing: no other matter has more pressure at any density than the stiffest one."""
    if options.least_maximum_mass <= Options.model_fields["least_maximum_mass"].default:
        return
    stiffest = np.full((1, options.segments), 1.0 - options.delta)
    highest = float(mass_radius_curves(sound_speed_segments(stiffest, options.ratio)).maximum_mass[0])
    if options.least_maximum_mass >= highest:
        raise InputError(
            f"neutron-star: least-maximum-mass {options.least_maximum_mass:g}: no equation of state is accepted, as "
            f"maximum masses are below {highest:.4g} solar masses; a lower one is needed"
        )


def _masses(options: Options, maximum: Array) -> Array:
    """Return the masses that are stored, (n, points): evenly spaced, the last one exactly the maximum."""
    place = _branch(options).coordinates
    masses = options.lowest_mass + (maximum[:, np.newaxis] - options.lowest_mass) * place
    masses[:, -1] = maximum
    return masses


def _stars(eos: EosBatch, curves: Curves, masses: Array) -> dict[str, Array]:
    from hpc_ds.physics.kernels.mass_radius import values_at_masses

    # The enthalpy at the centre is smooth in the mass; density and pressure, which follow from it, have kinks.
    columns = (np.ascontiguousarray(values) for values in (curves.mass, curves.enthalpy))
    centre = matter(eos, values_at_masses(*columns, curves.ok, masses))
    return {
        "mass": masses,
        "radius": radius_at(curves, masses),
        "tidal_deformability": tidal_at(curves, masses),
        "central_energy_density": centre.energy_density,
        "central_pressure": centre.pressure,
    }


def _reason(curves: Curves, i: int, lowest_mass: float) -> str:
    if not curves.ok[i]:
        return "the mass has no maximum up to a central enthalpy of 2.5"
    return f"the maximum mass, {curves.maximum_mass[i]:.4g}, is not above the lowest_mass of {lowest_mass:g}"


def _layout(options: Options, space: ParameterSpace) -> Layout:
    stars = {
        "mass": "Msun",
        "radius": "km",
        "tidal_deformability": "",
        "central_energy_density": "MeV/fm3",
        "central_pressure": "MeV/fm3",
    }
    numbers = {"maximum_mass": "Msun", "largest_sound_speed_squared": "c^2", "accepted": ""}
    return Layout(
        name="neutron-star",
        axes=(_branch(options),),
        times=Axis("time", np.zeros(1)),
        fields=(
            *(Quantity(name, time_varying=False, units=units) for name, units in stars.items()),
            *(Quantity(name, time_varying=False, dims=(), units=units) for name, units in numbers.items()),
        ),
        boundaries=(Boundary("OPEN", ("branch",)),),
        columns=space.columns,
        attributes={
            "equation": "Tolman-Oppenheimer-Volkoff, cold matter, no rotation",
            "equation_of_state": f"SLy crust to 2.7e14 g/cm3, then {options.segments} polytropes in the energy "
            f"density, equal in its logarithm, to {options.ratio:g} times that, average squared speeds of sound c2_i",
            "branch": f"(mass - {options.lowest_mass:g}) / (maximum_mass - {options.lowest_mass:g})",
            "accepted": f"maximum_mass >= {options.least_maximum_mass:g}"
            + (" and largest_sound_speed_squared <= 1" if options.strict_causality else ""),
            "method": f"enthalpy form, {_STARS} stars a curve, cubic interpolation in the mass",
        },
    )


def _branch(options: Options) -> Axis:
    return axis("branch", 0.0, 1.0, options.points)


def _warm_up() -> None:
    options = Options(segments=1, points=2)
    simulate(options, [{"c2_1": 0.3}], [])
