"""Files of data: measured tables that are read, and HDF5 files that are written and read."""
