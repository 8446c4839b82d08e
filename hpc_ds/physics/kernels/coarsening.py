"""Grids and matrices of black-box multigrid (Dendy 1982) for a symmetric problem on a square grid.

A level has m x m unknowns, the inner points of arrays of (m + 2) x (m + 2), and its matrix is given by couplings, minus
the off-diagonal elements: `east` of points (i, j) and (i, j + 1), `north` of (i, j) and (i + 1, j), `right` of (i, j)
and (i + 1, j + 1), `left` of (i, j) and (i + 1, j - 1). The finest level has no `right` and `left`, the others have.

The coarse point (p, q) is the fine point (2 p, 2 q). Interpolation follows the matrix and coarse matrices are
Galerkin's, so coefficients may jump and m may be any number. Of a quantity all levels lie in one array, one behind the
other; `plane` cuts a level out.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hpc_ds.runtime.compiled import compiled

EAST, NORTH, RIGHT, LEFT, DIAGONAL, INVERSE = range(6)
"""Rows of the array that holds a matrix; the last is 1 / diagonal."""

# Where the fine points lie around a coarse one, in the order of the rows of the interpolation weights.
SOUTH_WEST, SOUTH, SOUTH_EAST, WEST, CENTRE, EAST_OF, NORTH_WEST, NORTH_OF, NORTH_EAST = range(9)


@njit(cache=True)
def level_starts(m):
    """Return where in the arrays each level begins, from m x m unknowns down to one, and where the last one ends."""
    count = 1
    while m >> count > 0:
        count += 1
    starts = np.zeros(count + 1, np.int64)
    for depth in range(count):
        starts[depth + 1] = starts[depth] + ((m >> depth) + 2) ** 2
    return starts


@njit(cache=True, error_model="numpy")
def plane(values, starts, m, depth):
    """Return level `depth` of an array over all levels as a view (m_l + 2, m_l + 2)."""
    side = (m >> depth) + 2
    return values[starts[depth] : starts[depth + 1]].reshape((side, side))


@compiled
def set_finest(faces_x, faces_y, matrix, m):
    """Set the matrix of level 0, of five points, couplings to points outside included."""
    side = m + 2
    for i in range(1, m + 1):
        for j in range(1, m + 1):
            west, east = faces_y[i - 1, j - 1], faces_y[i - 1, j]
            south, north = faces_x[i - 1, j - 1], faces_x[i, j - 1]
            at = i * side + j
            matrix[EAST, at - 1], matrix[EAST, at] = west, east
            matrix[NORTH, at - side], matrix[NORTH, at] = south, north
            matrix[DIAGONAL, at] = west + east + south + north
            matrix[INVERSE, at] = 1.0 / matrix[DIAGONAL, at]


@njit(cache=True, error_model="numpy")
def set_interpolation(matrix, weights, starts, m, depth):
    """Set the weights of level depth + 1: what a coarse point gives to itself and the fine points around it."""
    east, north = plane(matrix[EAST], starts, m, depth), plane(matrix[NORTH], starts, m, depth)
    right, left = plane(matrix[RIGHT], starts, m, depth), plane(matrix[LEFT], starts, m, depth)
    diagonal, inverse = plane(matrix[DIAGONAL], starts, m, depth), plane(matrix[INVERSE], starts, m, depth)
    fine, coarse, side = m >> depth, m >> (depth + 1), (m >> (depth + 1)) + 2
    for p in range(1, coarse + 1):
        for q in range(1, coarse + 1):
            at = starts[depth + 1] + p * side + q
            i, j = 2 * p, 2 * q
            to_west = along_row(east, north, right, left, diagonal, i, j - 1, fine, True)
            to_east = along_row(east, north, right, left, diagonal, i, j + 1, fine, False)
            to_south = along_column(east, north, right, left, diagonal, i - 1, j, fine, True)
            to_north = along_column(east, north, right, left, diagonal, i + 1, j, fine, False)
            weights[WEST, at], weights[CENTRE, at], weights[EAST_OF, at] = to_west, 1.0, to_east
            weights[SOUTH, at], weights[NORTH_OF, at] = to_south, to_north
            # A point in the middle of four coarse ones satisfies its own equation.
            weights[SOUTH_WEST, at] = inverse[i - 1, j - 1] * (
                right[i - 1, j - 1] + north[i - 1, j - 1] * to_west + east[i - 1, j - 1] * to_south
            )
            if j < fine:
                weights[SOUTH_EAST, at] = inverse[i - 1, j + 1] * (
                    left[i - 1, j + 1] + north[i - 1, j + 1] * to_east + east[i - 1, j] * to_south
                )
            if i < fine:
                weights[NORTH_WEST, at] = inverse[i + 1, j - 1] * (
                    left[i, j] + north[i, j - 1] * to_west + east[i + 1, j - 1] * to_north
                )
            if i < fine and j < fine:
                weights[NORTH_EAST, at] = inverse[i + 1, j + 1] * (
                    right[i, j] + north[i, j + 1] * to_east + east[i + 1, j] * to_north
                )


@compiled
def along_row(east, north, right, left, diagonal, i, j, fine, from_east):
    """Return what the coarse point east (else west) of the fine point (i, j) gives to it.

    The equation of the point is summed over its column: only west and east remain.
    """
    if j > fine:
        return 0.0
    to_west = east[i, j - 1] + left[i, j] + right[i - 1, j - 1]
    to_east = east[i, j] + right[i, j] + left[i - 1, j + 1]
    outside = diagonal[i, j] - north[i, j] - north[i - 1, j] if j == 1 or j == fine else 0.0
    return share(to_east if from_east else to_west, to_west + to_east, diagonal[i, j], outside)


@compiled
def along_column(east, north, right, left, diagonal, i, j, fine, from_north):
    """Return what the coarse point north (else south) of the fine point (i, j) gives to it; see `along_row`."""
    if i > fine:
        return 0.0
    to_south = north[i - 1, j] + right[i - 1, j - 1] + left[i - 1, j + 1]
    to_north = north[i, j] + right[i, j] + left[i, j]
    outside = diagonal[i, j] - east[i, j] - east[i, j - 1] if i == 1 or i == fine else 0.0
    return share(to_north if from_north else to_south, to_south + to_north, diagonal[i, j], outside)


@compiled
def share(one, both, diagonal, outside):
    """Return the weight of one of two coarse points by the couplings to it and to both.

    Where the other lies outside, the point is tied to both by `outside`. In a row next to the boundary the couplings
    along it may cancel: there halves are as good, and the value is given by the other direction anyway.
    """
    if outside > 0.0:
        return one / outside
    if both < 0.02 * diagonal:
        return 0.5
    return min(max(one / both, 0.0), 1.0)


@njit(cache=True, error_model="numpy")
def set_coarse(matrix, weights, starts, m, depth, patch, product):
    """Set the matrix of level depth + 1 to P^T A P; `patch` (6, 7), zero, and `product` (4, 5) are scratch.

    The column of a coarse point is written into the middle of `patch`, A times it into `product`: rows -1 to 2 and
    columns -2 to 2 around the point, all that its coupling to itself and to the points east and north of it needs.
    """
    fine, coarse, side = m >> depth, m >> (depth + 1), (m >> (depth + 1)) + 2
    for p in range(1, coarse + 1):
        for q in range(1, coarse + 1):
            at = starts[depth + 1] + p * side + q
            for k in range(9):
                patch[1 + k // 3, 2 + k % 3] = weights[k, at]
            multiply_patch(matrix, starts[depth], fine, 2 * p, 2 * q, patch, product)
            own = 0.0
            for a in range(3):
                for b in range(3):
                    own += patch[a + 1, b + 2] * product[a, b + 1]
            matrix[DIAGONAL, at], matrix[INVERSE, at] = own, 1.0 / own
            last_row, last_column = p == coarse, q == coarse
            if not last_column:
                matrix[EAST, at] = -coupling_east(weights, at + 1, product)
            if not last_row:
                matrix[NORTH, at] = -coupling_north(weights, at + side, product)
            if not last_row and not last_column:
                matrix[RIGHT, at] = -coupling_right(weights, at + side + 1, product)
            if not last_row and q > 1:
                matrix[LEFT, at] = -coupling_left(weights, at + side - 1, product)


@compiled
def multiply_patch(matrix, start, fine, i, j, patch, product):
    """Set `product` to A times `patch` around the point (i, j) of the level that begins at `start`."""
    side = fine + 2
    for a in range(4):
        for b in range(5):
            row, column = i + a - 1, j + b - 2
            if row > fine or column > fine or column < 1:
                product[a, b] = 0.0
                continue
            at = start + row * side + column
            product[a, b] = (
                matrix[DIAGONAL, at] * patch[a + 1, b + 1]
                - matrix[EAST, at] * patch[a + 1, b + 2]
                - matrix[EAST, at - 1] * patch[a + 1, b]
                - matrix[NORTH, at] * patch[a + 2, b + 1]
                - matrix[NORTH, at - side] * patch[a, b + 1]
                - matrix[RIGHT, at] * patch[a + 2, b + 2]
                - matrix[RIGHT, at - side - 1] * patch[a, b]
                - matrix[LEFT, at] * patch[a + 2, b]
                - matrix[LEFT, at - side + 1] * patch[a, b + 2]
            )


@compiled
def coupling_east(weights, at, product):
    """Return the column of the coarse point `at`, the one east of `product`'s, times `product`."""
    return (
        weights[SOUTH_WEST, at] * product[0, 3]
        + weights[WEST, at] * product[1, 3]
        + weights[NORTH_WEST, at] * product[2, 3]
        + weights[SOUTH, at] * product[0, 4]
        + product[1, 4]
        + weights[NORTH_OF, at] * product[2, 4]
    )


@compiled
def coupling_north(weights, at, product):
    """Return the column of the coarse point `at`, the one north of `product`'s, times `product`."""
    return (
        weights[SOUTH_WEST, at] * product[2, 1]
        + weights[SOUTH, at] * product[2, 2]
        + weights[SOUTH_EAST, at] * product[2, 3]
        + weights[WEST, at] * product[3, 1]
        + product[3, 2]
        + weights[EAST_OF, at] * product[3, 3]
    )


@compiled
def coupling_right(weights, at, product):
    """Return the column of the coarse point `at`, the one north-east of `product`'s, times `product`."""
    return (
        weights[SOUTH_WEST, at] * product[2, 3]
        + weights[SOUTH, at] * product[2, 4]
        + weights[WEST, at] * product[3, 3]
        + product[3, 4]
    )


@compiled
def coupling_left(weights, at, product):
    """Return the column of the coarse point `at`, the one north-west of `product`'s, times `product`."""
    return (
        weights[SOUTH_EAST, at] * product[2, 1]
        + weights[SOUTH, at] * product[2, 0]
        + weights[EAST_OF, at] * product[3, 1]
        + product[3, 0]
    )
