"""The report of simulation runs: how far the ensemble is, what it covers, how it ran and what its samples look like."""
