"""Compiled inner loops of the sampler: numba functions on plain arrays, cached on disk.

Import the modules directly; nothing is imported here, so that the package costs nothing until a sampler runs.
"""
