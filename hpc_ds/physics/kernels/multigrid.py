"""Conjugate gradients with a multigrid V-cycle as preconditioner, for a symmetric problem on a square grid."""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_ds.physics.kernels.coarsening import (
    DIAGONAL,
    EAST,
    INVERSE,
    LEFT,
    NORTH,
    NORTH_WEST,
    RIGHT,
    SOUTH_WEST,
    WEST,
    level_starts,
    plane,
    set_coarse,
    set_finest,
    set_interpolation,
)
from hpc_ds.physics.kernels.rows import (
    FUSED,
    add_north,
    add_scaled,
    add_south,
    clear,
    dot,
    from_east,
    from_west,
    gather,
    multiply_row,
    scale_and_add,
    scatter,
    set_east,
    set_row,
)


@njit(cache=True)
def solve(faces_x, faces_y, source, tolerance, limit):
    """Solve sum over a point's four faces of face (u - u of the neighbour) = source, with u = 0 outside.

    Parameters
    ----------
    faces_x, faces_y : (m + 1, m) and (m, m + 1) float64, > 0
        Weights of the faces between (i - 1, j) and (i, j), and (i, j - 1) and (i, j); the outermost lead outside.
    source : (m, m) float64
    tolerance : float
        Of the residual in the norm of the preconditioner, relative to that of u = 0: about the relative error of u in
        the energy norm.
    limit : int
        Steps at most.

    Returns
    -------
    u : (m, m) float64
    steps : int
        Steps that were taken, or -1 if they did not reach the tolerance.
    """
    m = source.shape[0]
    starts = level_starts(m)
    matrix, weights = np.zeros((6, starts[-1])), np.zeros((9, starts[-1]))
    set_up(faces_x, faces_y, matrix, weights, starts, m)
    u, inner = np.zeros((m + 2, m + 2)), np.zeros((m + 2, m + 2))
    inner[1:-1, 1:-1] = source
    steps = conjugate_gradients(matrix, weights, starts, u, inner, tolerance, limit)
    return u[1:-1, 1:-1].copy(), steps


@njit(cache=True)
def set_up(faces_x, faces_y, matrix, weights, starts, m):
    """Set the matrices and interpolation weights of all levels."""
    set_finest(faces_x, faces_y, matrix, m)
    for depth in range(starts.size - 2):
        set_interpolation(matrix, weights, starts, m, depth)
        set_coarse(matrix, weights, starts, m, depth, np.zeros((6, 7)), np.zeros((4, 5)))


@njit(cache=True)
def conjugate_gradients(matrix, weights, starts, u, source, tolerance, limit):
    """Solve A u = source from u = 0 with one V-cycle a step as preconditioner; return the steps, or -1."""
    m = u.shape[0] - 2
    unknown, known, row = np.zeros(starts[-1]), np.zeros(starts[-1]), np.zeros(m + 2)
    residual, step = plane(known, starts, m, 0), plane(unknown, starts, m, 0)
    direction, image = np.zeros_like(u), np.zeros_like(u)
    add_scaled(residual, 1.0, source)
    v_cycle(matrix, weights, starts, unknown, known, m, row)
    product = dot(residual, step)
    goal = tolerance**2 * product
    ratio = 0.0
    for taken in range(limit + 1):
        if product <= goal:
            return taken
        scale_and_add(direction, ratio, step)
        multiply(matrix, starts, m, direction, image)
        length = product / dot(direction, image)
        add_scaled(u, length, direction)
        add_scaled(residual, -length, image)
        v_cycle(matrix, weights, starts, unknown, known, m, row)
        before, product = product, dot(residual, step)
        ratio = product / before
    return -1


@njit(cache=True, error_model="numpy")
def v_cycle(matrix, weights, starts, unknown, known, m, row):
    """Set level 0 of `unknown` to an approximate solution for level 0 of `known`: a symmetric operation."""
    last = starts.size - 2
    for depth in range(last):
        u, f = plane(unknown, starts, m, depth), plane(known, starts, m, depth)
        smooth_from_zero(matrix, starts, m, depth, u, f, row)
        restrict(matrix, weights, starts, m, depth, u, plane(known, starts, m, depth + 1), row)
    at = starts[last] + 4  # the middle of 3 x 3
    unknown[at] = known[at] * matrix[INVERSE, at]
    for depth in range(last - 1, -1, -1):
        u, f = plane(unknown, starts, m, depth), plane(known, starts, m, depth)
        prolong(weights, starts, m, depth, plane(unknown, starts, m, depth + 1), u)
        smooth_back(matrix, starts, m, depth, u, f, row)


@njit(cache=True, fastmath=FUSED, error_model="numpy")
def smooth_from_zero(matrix, starts, m, depth, u, f, row):
    """Set `u` to one forward Gauss-Seidel sweep from zero."""
    east, north = plane(matrix[EAST], starts, m, depth), plane(matrix[NORTH], starts, m, depth)
    right, left = plane(matrix[RIGHT], starts, m, depth), plane(matrix[LEFT], starts, m, depth)
    inverse = plane(matrix[INVERSE], starts, m, depth)
    size = m >> depth
    for i in range(1, size + 1):
        set_row(row, f[i], size)
        add_south(row, north[i - 1], right[i - 1], left[i - 1], u[i - 1], size, depth > 0)
        from_west(row, east[i], inverse[i], u[i], size)


@njit(cache=True, fastmath=FUSED, error_model="numpy")
def smooth_back(matrix, starts, m, depth, u, f, row):
    """Improve `u` by one backward Gauss-Seidel sweep: the transpose of the forward one."""
    east, north = plane(matrix[EAST], starts, m, depth), plane(matrix[NORTH], starts, m, depth)
    right, left = plane(matrix[RIGHT], starts, m, depth), plane(matrix[LEFT], starts, m, depth)
    inverse = plane(matrix[INVERSE], starts, m, depth)
    size = m >> depth
    for i in range(size, 0, -1):
        set_row(row, f[i], size)
        add_south(row, north[i - 1], right[i - 1], left[i - 1], u[i - 1], size, depth > 0)
        add_north(row, north[i], right[i], left[i], u[i + 1], size, depth > 0)
        from_east(row, east[i], inverse[i], u[i], size)


@njit(cache=True, fastmath=FUSED, error_model="numpy")
def multiply(matrix, starts, m, u, image):
    """Set `image` to A u on the finest level."""
    east, north = plane(matrix[EAST], starts, m, 0), plane(matrix[NORTH], starts, m, 0)
    diagonal = plane(matrix[DIAGONAL], starts, m, 0)
    for i in range(1, m + 1):
        multiply_row(image[i], diagonal[i], east[i], north[i - 1], north[i], u[i - 1], u[i], u[i + 1], m)


@njit(cache=True, fastmath=FUSED, error_model="numpy")
def restrict(matrix, weights, starts, m, depth, u, coarse, row):
    """Set the right side `coarse` of level depth + 1 to P^T of the residual that `smooth_from_zero` has left.

    That sweep solves with the lower triangle of the matrix: what is left is the upper one times u.
    """
    east, north = plane(matrix[EAST], starts, m, depth), plane(matrix[NORTH], starts, m, depth)
    right, left = plane(matrix[RIGHT], starts, m, depth), plane(matrix[LEFT], starts, m, depth)
    south_west, south, south_east = three_planes(weights, SOUTH_WEST, starts, m, depth + 1)
    west, centre, east_of = three_planes(weights, WEST, starts, m, depth + 1)
    north_west, north_of, north_east = three_planes(weights, NORTH_WEST, starts, m, depth + 1)
    size = m >> depth
    clear(coarse)
    for i in range(1, size + 1):
        p = i // 2
        set_east(row, east[i], u[i], size)
        add_north(row, north[i], right[i], left[i], u[i + 1], size, depth > 0)
        if i % 2 == 0:
            gather(coarse[p], row, west[p], centre[p], east_of[p])
            continue
        gather(coarse[p], row, north_west[p], north_of[p], north_east[p])
        if i < size:
            gather(coarse[p + 1], row, south_west[p + 1], south[p + 1], south_east[p + 1])


@njit(cache=True, fastmath=FUSED, error_model="numpy")
def prolong(weights, starts, m, depth, coarse, u):
    """Add P times `coarse`, on level depth + 1, to `u` on level depth."""
    south_west, south, south_east = three_planes(weights, SOUTH_WEST, starts, m, depth + 1)
    west, centre, east_of = three_planes(weights, WEST, starts, m, depth + 1)
    north_west, north_of, north_east = three_planes(weights, NORTH_WEST, starts, m, depth + 1)
    size = m >> depth
    for i in range(1, size + 1):
        p = i // 2
        if i % 2 == 0:
            scatter(coarse[p], u[i], west[p], centre[p], east_of[p])
            continue
        scatter(coarse[p], u[i], north_west[p], north_of[p], north_east[p])
        if i < size:
            scatter(coarse[p + 1], u[i], south_west[p + 1], south[p + 1], south_east[p + 1])


@njit(cache=True, error_model="numpy")
def three_planes(weights, first, starts, m, depth):
    """Return three kinds of weights, from kind `first` on, of a level."""
    return (
        plane(weights[first], starts, m, depth),
        plane(weights[first + 1], starts, m, depth),
        plane(weights[first + 2], starts, m, depth),
    )
