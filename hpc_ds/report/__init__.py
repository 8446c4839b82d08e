"""Turn a finished run folder into one HTML page that a person can read, print and send.

`build` writes ``report.html`` into the folder; `hpc_ds.report.tables.terminal` gives the same answer as
tables for the terminal. Importing this package is cheap: matplotlib and rich are loaded when they draw.
"""

from hpc_ds.report.page import build

__all__ = ["build"]
