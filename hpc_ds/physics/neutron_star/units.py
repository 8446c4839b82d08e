"""Units of neutron stars: geometric ones inside (G = c = solar mass = 1), MeV/fm3, km and solar masses outside."""

_SPEED_OF_LIGHT = 2.99792458e8  # m/s, exact (SI)
_GRAVITATION = 6.67430e-11  # m3/(kg s2), CODATA 2018 and 2022
_SUN_GM = 1.3271244e20  # m3/s2, nominal value of IAU 2015 Resolution B3
_MEV = 1.602176634e-13  # J, exact (SI)
_FERMI = 1e-15  # m

KM = _SUN_GM / _SPEED_OF_LIGHT**2 * 1e-3
"""Kilometres in one geometric unit of length, G Msun / c^2 = 1.476625 km."""

GRAM_PER_CM3 = _SPEED_OF_LIGHT**2 / (_GRAVITATION * (1e3 * KM) ** 2) * 1e-3
"""Mass density in g/cm3 of one geometric unit of energy density, 6.1758e17."""

DYN_PER_CM2 = GRAM_PER_CM3 * (1e2 * _SPEED_OF_LIGHT) ** 2
"""Pressure in dyn/cm2 (energy density in erg/cm3) of one geometric unit."""

MEV_PER_FM3 = 0.1 * DYN_PER_CM2 * _FERMI**3 / _MEV
"""Energy density or pressure in MeV/fm3 of one geometric unit, 3.4644e5."""

PER_M2 = 1.0 / (1e3 * KM) ** 2
"""Energy density or pressure in m^-2 (G = c = 1) of one geometric unit."""

NUCLEAR_DENSITY = 2.7e14 / GRAM_PER_CM3 * MEV_PER_FM3
"""Energy density of nuclear saturation in MeV/fm3: 2.7e14 g/cm3 (0.16 baryons a fm3), 151.46 MeV/fm3."""
