"""Data-driven science on a supercomputer and, unchanged, on a laptop: simulate, learn, infer.

Importing this package imports nothing else: no MPI, no numba, no torch. Every engine is a subpackage.
"""

__version__ = "0.1.0"
