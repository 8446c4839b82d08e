"""Forward models as plain functions of arrays: no MPI, no Dask, no files."""
