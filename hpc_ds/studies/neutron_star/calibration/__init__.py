"""Calibration by simulation: whether exact posteriors are right, and whether bands of networks are honest."""
