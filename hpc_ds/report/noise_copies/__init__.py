"""The page of the study of noise copies."""

from hpc_ds.report.noise_copies.page import html

__all__ = ["html"]
