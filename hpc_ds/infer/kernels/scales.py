"""How far a peak can be expected to move: scales of proposals from the information that the data hold on it."""

from __future__ import annotations

import numpy as np

from hpc_ds.infer.kernels.components import ESTIMATED, GAUSSIAN, PSEUDO_VOIGT, gaussian_decay
from hpc_ds.runtime.compiled import inlined


@inlined
def is_position(problem, j):
    """Whether parameter j is the position of a peak."""
    c = problem.owner[j]
    return c >= 0 and problem.kind[c] <= PSEUDO_VOIGT and j == problem.first[c] + 1


@inlined
def width_of(problem, theta, c):
    """Full width at half maximum of peak c."""
    width = theta[problem.first[c] + 2]
    if problem.kind[c] <= GAUSSIAN:
        return np.sqrt(2.772588722239781 / gaussian_decay(problem.kind[c], width))
    return width


@inlined
def position_scale(problem, theta, c, beta):
    """Standard deviation of a peak's position to be expected at this temperature (Fisher information).

    For a Gaussian of height a and full width w, sampled every dx with noise sigma: w (a sqrt(w / dx) sqrt(beta) /
    sigma)^-1 to within a constant; no more than the range of x. It does not depend on the position itself, so a
    random walk of the position with this step is symmetric.
    """
    width = width_of(problem, theta, c)
    spacing = (problem.x[problem.points - 1] - problem.x[0]) / max(problem.points - 1, 1)
    signal = abs(theta[problem.first[c]]) * np.sqrt(width / spacing * beta * typical_weight(problem, theta))
    span = problem.x[problem.points - 1] - problem.x[0]
    return min(width / max(signal, 1e-12), span)


@inlined
def typical_weight(problem, theta):
    """1 / variance of a point's noise, near enough to scale proposals."""
    if problem.likelihood == ESTIMATED:
        return problem.weight[problem.points // 2] / theta[problem.noise] ** 2
    return problem.weight[problem.points // 2]
