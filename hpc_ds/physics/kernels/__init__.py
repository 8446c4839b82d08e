"""Compiled loops of the solvers: numba functions on plain arrays, cached on disk. Import the modules directly."""
