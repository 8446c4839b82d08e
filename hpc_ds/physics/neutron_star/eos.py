"""Batches of equations of state in one representation, and pressure, density and speed of sound in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpc_ds.physics.neutron_star.units import MEV_PER_FM3

Array = NDArray[np.float64]
Index = int | slice | Sequence[int] | NDArray[np.int64] | NDArray[np.bool_]

_BEYOND = 1.0 + 1e-12  # relative enthalpy up to which the end of a table counts as in it


@dataclass(frozen=True, eq=False)
class EosBatch:
    """n equations of state of cold matter, each in pieces in which everything is closed form in the enthalpy.

    The enthalpy is h = integral of dp / (e + p) from the surface, a pure number. Made by the functions of
    `hpc_ds.physics.neutron_star.families` and `tables`; what a row of `pieces` means, and that it is in geometric
    units, says `hpc_ds.physics.kernels.equation_of_state`.

    Attributes
    ----------
    pieces : (rows, 8) float64
        The pieces of all equations, one behind the other.
    starts : (n + 1,) int64
        Where those of each begin, and the number of rows.
    tops : (n,) float64
        Enthalpy up to which each is known: where a table ends, or where matter that gets ever softer has no end of
        density; else infinite.
    """

    pieces: Array
    starts: NDArray[np.int64]
    tops: Array

    def __len__(self) -> int:
        return len(self.tops)

    def __getitem__(self, index: Index) -> EosBatch:
        """Return some of the equations, a single one as a batch of one."""
        chosen = np.atleast_1d(np.arange(len(self))[index])
        rows = [self.pieces[self.starts[i] : self.starts[i + 1]] for i in chosen]
        return from_pieces(rows, self.tops[chosen])


class State(NamedTuple):
    """Matter at given enthalpies, (n, k) each: MeV/fm3, MeV/fm3 and c^2."""

    energy_density: Array
    pressure: Array
    sound_speed_squared: Array


def from_pieces(rows: Sequence[Array], tops: ArrayLike = math.inf) -> EosBatch:
    """Return the batch of equations with these pieces, (k, 8) each."""
    starts = np.concatenate([[0], np.cumsum([len(pieces) for pieces in rows], dtype=np.int64)]).astype(
        np.int64
    )
    pieces = np.concatenate(rows) if len(rows) else np.empty((0, 8))
    return EosBatch(np.ascontiguousarray(pieces), starts, np.broadcast_to(tops, len(rows)).astype(np.float64))


def joined(batches: Sequence[EosBatch]) -> EosBatch:
    """Return one batch of the equations of several, in this order."""
    rows = [eos.pieces[eos.starts[i] : eos.starts[i + 1]] for eos in batches for i in range(len(eos))]
    return from_pieces(rows, np.concatenate([eos.tops for eos in batches]) if batches else np.empty(0))


def matter(eos: EosBatch, enthalpies: ArrayLike) -> State:
    """Return the state of matter at enthalpies.

    Parameters
    ----------
    eos : EosBatch
        Of n equations.
    enthalpies : (k,) or (n, k)

    Returns
    -------
    State
        NaN below zero and beyond the end of a table. Where two pieces meet, that of the upper one.
    """
    from hpc_ds.physics.kernels.equation_of_state import states

    h = for_each(eos, enthalpies)
    known = (h >= 0.0) & (h <= eos.tops[:, np.newaxis] * _BEYOND)
    e, p, speed = states(eos.pieces, eos.starts, np.where(known, h, 0.0))
    return State(*(np.where(known, values, np.nan) for values in (e * MEV_PER_FM3, p * MEV_PER_FM3, speed)))


def enthalpy_at(eos: EosBatch, energy_densities: ArrayLike) -> Array:
    """Return the enthalpies at energy densities, (k,) or (n, k) in MeV/fm3, as (n, k).

    Inside a jump of the density it is that of the jump; NaN beyond the end of a table.
    """
    from hpc_ds.physics.kernels.equation_of_state import enthalpies

    e = for_each(eos, energy_densities) / MEV_PER_FM3
    h = enthalpies(eos.pieces, eos.starts, np.where(e > 0.0, e, 1.0))
    return np.where((e > 0.0) & (h <= eos.tops[:, np.newaxis] * _BEYOND), h, np.nan)


def pressure_at(eos: EosBatch, energy_densities: ArrayLike) -> Array:
    """Return the pressures at energy densities, (k,) or (n, k), all in MeV/fm3, as (n, k): the curves p(e)."""
    return matter(eos, enthalpy_at(eos, energy_densities)).pressure


def largest_sound_speed_squared(eos: EosBatch, enthalpies: ArrayLike) -> Array:
    """Return the largest dp/de, in c^2, from the surface up to an enthalpy of each equation: causal where <= 1.

    Parameters
    ----------
    eos : EosBatch
    enthalpies : float or (n,)
        For instance that at the centre of the heaviest star, ``curves.enthalpy[:, -1]``.

    Returns
    -------
    (n,) float64
    """
    from hpc_ds.physics.kernels.equation_of_state import largest_sound_speeds

    h = np.minimum(np.broadcast_to(np.asarray(enthalpies, dtype=np.float64), len(eos)), eos.tops)
    return largest_sound_speeds(eos.pieces, eos.starts, h)


def for_each(eos: EosBatch, values: ArrayLike) -> Array:
    """Return values (k,) or (n, k) as a contiguous (n, k)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != len(eos)):
        raise ValueError(f"values have shape {array.shape}: (k,) or ({len(eos)}, k) is needed")
    return np.ascontiguousarray(np.broadcast_to(array, (len(eos), array.shape[-1])))
