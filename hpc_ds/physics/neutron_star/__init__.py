"""Cold neutron stars: equations of state, the stars that they make, and their curves of mass and radius."""

from hpc_ds.physics.neutron_star.curves import (
    Curves,
    central_density_at,
    mass_radius_curves,
    radius_at,
    tidal_at,
)
from hpc_ds.physics.neutron_star.eos import (
    EosBatch,
    enthalpy_at,
    joined,
    largest_sound_speed_squared,
    matter,
    pressure_at,
)
from hpc_ds.physics.neutron_star.families import (
    READ_2009,
    fitted_sly,
    from_rows,
    piecewise_polytropes,
    polytropes,
    read_2009,
    self_bound,
    sly_below,
    smooth_rows,
    sound_speed_segments,
)
from hpc_ds.physics.neutron_star.tables import LAYOUTS, read_table
from hpc_ds.physics.neutron_star.tov import Stars, integrate_stars

__all__ = [
    "LAYOUTS",
    "READ_2009",
    "Curves",
    "EosBatch",
    "Stars",
    "central_density_at",
    "enthalpy_at",
    "fitted_sly",
    "from_rows",
    "integrate_stars",
    "joined",
    "largest_sound_speed_squared",
    "mass_radius_curves",
    "matter",
    "piecewise_polytropes",
    "polytropes",
    "pressure_at",
    "radius_at",
    "read_2009",
    "read_table",
    "self_bound",
    "sly_below",
    "smooth_rows",
    "sound_speed_segments",
    "tidal_at",
]
