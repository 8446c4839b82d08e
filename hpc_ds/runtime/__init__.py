"""The ground floor: world of ranks, random streams, run folders, snapshots, deadlines and progress.

Nothing is imported here, so that ``hpc_ds.runtime.threads`` can act before NumPy is loaded and no command
initialises MPI by accident; take names from the modules, e.g. ``from hpc_ds.runtime.world import get_world``.
"""
