r"""The Fourier coefficients of the lowest waves of a field, and the field of given ones, as matrix products.

Fields stand with their channels last: (batch, \*grid, channels). Of m modes along an axis the waves k run from
-(m // 2) to (m - 1) // 2, along the last axis from 0 to m // 2, as the field is real. A coefficient is the mean of the
field times exp(-2 pi i k x), x in [0, 1): it does not depend on the resolution. A wave that a grid cannot hold is left
out there. A matrix with as few rows as there are waves costs less than a transform that computes all of them, unless
there are hundreds (`benchmarks/learn_fno.py`); the last axis is then left to an FFT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from hpc_ds.learn.networks.tracing import is_traced

MANY = 160
"""Waves of the last axis beyond which an FFT is quicker than a matrix."""

_TYPES_OF_FFT = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Waves:
    """Matrices that take fields on one grid to their coefficients and back.

    Attributes
    ----------
    grid : tuple of int
        Points along each axis.
    kept : tuple of slice
        Those of the modes that the grid can hold, along each axis.
    analysis, synthesis : tuple of Tensor
        Of each axis but the last (2 counts, 2 points) and (2 points, 2 counts), of the last one (2 counts, points) and
        (points, 2 counts). Real parts come before imaginary ones among the waves, beside them among the points.
    """

    grid: tuple[int, ...]
    kept: tuple[slice, ...]
    analysis: tuple[Tensor, ...]
    synthesis: tuple[Tensor, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Waves kept along each axis."""
        return tuple(part.stop - part.start for part in self.kept)

    @property
    def has_many(self) -> bool:
        """Whether the last axis is left to an FFT; exported programs have matrices only."""
        return self.counts[-1] > MANY and self.analysis[-1].dtype in _TYPES_OF_FFT and not is_traced()


def make_waves(grid: Sequence[int], modes: Sequence[int], like: Tensor) -> Waves:
    """Return the matrices for a grid in the type and on the device of `like`; they are computed once.

    Parameters
    ----------
    grid : (d,) int
        Points along each axis.
    modes : (d,) int
        Waves along each axis, both signs counted.
    """
    key = (tuple(map(int, grid)), tuple(modes), like.dtype, like.device)
    # What a tracer sees is no number to keep.
    return _new_waves(*key) if is_traced() else _cached_waves(*key)


def wave_counts(modes: Sequence[int]) -> tuple[int, ...]:
    """Return the number of coefficients along each axis: `modes`, along the last one m // 2 + 1."""
    return (*modes[:-1], modes[-1] // 2 + 1)


def to_coefficients(x: Tensor, waves: Waves) -> Tensor:
    r"""Return the coefficients of x (batch, \*grid, channels): (batch, 2, *counts, channels), real then imaginary."""
    rows = x.reshape(-1, waves.grid[-1], x.shape[-1])
    rows = _by_fft(rows, waves) if waves.has_many else apply(waves.analysis[-1], rows)
    return rows_to_coefficients(rows, waves, x.shape[0])


def from_coefficients(a: Tensor, waves: Waves) -> Tensor:
    r"""Return the real field (batch, \*grid, channels) of coefficients (batch, 2, *counts, channels).

    What is imaginary in the sum is dropped, as an inverse real FFT does; along the last axis waves other than the
    zeroth and the Nyquist wave stand for their conjugates, too.
    """
    rows = coefficients_to_rows(a, waves)
    x = _by_inverse_fft(rows, waves) if waves.has_many else apply(waves.synthesis[-1], rows)
    return x.reshape(a.shape[0], *waves.grid, a.shape[-1])


def rows_to_coefficients(rows: Tensor, waves: Waves, batch: int) -> Tensor:
    """Return the coefficients of those along the last axis alone, (rows of the grid, 2 counts, channels)."""
    x = rows
    for axis in reversed(range(len(waves.grid) - 1)):
        x = apply(waves.analysis[axis], _stacked(x, batch, waves.grid[:axis], 2 * waves.grid[axis]))
    return x.reshape(batch, 2, *waves.counts, rows.shape[-1])


def coefficients_to_rows(a: Tensor, waves: Waves) -> Tensor:
    """Return the coefficients along the last axis, (rows of the grid, 2 counts, channels), the inverse of the above."""
    x = a
    for axis in range(len(waves.grid) - 1):
        x = apply(waves.synthesis[axis], _stacked(x, a.shape[0], waves.grid[:axis], 2 * waves.counts[axis]))
    return x.reshape(-1, 2 * waves.counts[-1], a.shape[-1])


def transposed(waves: Waves) -> Waves:
    """Return the waves whose synthesis is the transpose of the analysis of `waves`, and the other way round.

    Gradients travel through them.
    """
    return Waves(
        waves.grid,
        waves.kept,
        tuple(matrix.mT for matrix in waves.synthesis),
        tuple(matrix.mT for matrix in waves.analysis),
    )


def apply(matrix: Tensor, x: Tensor) -> Tensor:
    """Return the matrix (m, n) times each of x (rows, n, numbers)."""
    return torch.bmm(matrix.expand(x.shape[0], *matrix.shape), x)


def _by_fft(x: Tensor, waves: Waves) -> Tensor:
    a = torch.fft.rfft(x, dim=1, norm="forward")[:, : waves.counts[-1]]
    return torch.cat([a.real, a.imag], 1)


def _by_inverse_fft(rows: Tensor, waves: Waves) -> Tensor:
    return torch.fft.irfft(torch.complex(*rows.chunk(2, 1)), n=waves.grid[-1], dim=1, norm="forward")


def _stacked(x: Tensor, batch: int, before: Sequence[int], length: int) -> Tensor:
    return x.reshape(batch * math.prod(before), length, -1)


@lru_cache(maxsize=64)
def _cached_waves(
    grid: tuple[int, ...], modes: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Waves:
    # A tensor made in inference mode could not be used in training afterwards.
    with torch.inference_mode(False), torch.no_grad():
        return _new_waves(grid, modes, dtype, device)


def _new_waves(
    grid: tuple[int, ...], modes: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Waves:
    kept, analysis, synthesis = [], [], []
    for n, m in zip(grid[:-1], modes[:-1]):
        low, high = max(-(m // 2), -(n // 2)), min((m - 1) // 2, (n - 1) // 2)
        kept.append(slice(low + m // 2, high + m // 2 + 1))
        cosine, sine = _table(low, high + 1, n, device)  # (waves, points)
        to_waves = torch.stack([torch.stack([cosine, sine], 2), torch.stack([-sine, cosine], 2)])
        analysis.append(to_waves.reshape(-1, 2 * n) / n)
        synthesis.append(to_waves.reshape(-1, 2 * n).mT)
    n, count = grid[-1], min(modes[-1], grid[-1]) // 2 + 1
    kept.append(slice(0, count))
    cosine, sine = _table(0, count, n, device)
    waves = torch.arange(count, device=device)
    single = (waves == 0) | (2 * waves == n)
    weight = torch.where(single, 1.0, 2.0).to(torch.float64)
    analysis.append(torch.cat([cosine, -sine]) / n)
    synthesis.append((torch.cat([cosine, -sine]) * weight.repeat(2)[:, None]).mT)
    return Waves(
        grid,
        tuple(kept),
        tuple(matrix.to(dtype).contiguous() for matrix in analysis),
        tuple(matrix.to(dtype).contiguous() for matrix in synthesis),
    )


def _table(first: int, stop: int, n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin of 2 pi k j / n for waves k and points j, (waves, n) float64."""
    k = torch.arange(first, stop, device=device)[:, None]
    # The remainder keeps the angle, and with it the rounding error, small.
    angle = torch.remainder(k * torch.arange(n, device=device), n).to(torch.float64) * (2.0 * math.pi / n)
    return torch.cos(angle), torch.sin(angle)
