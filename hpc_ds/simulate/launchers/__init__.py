"""Ways to bring a Dask cluster up and to take it down; each module has one function `launch`."""
