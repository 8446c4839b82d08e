"""The report of a training: learning curves, errors sample by sample, best and worst predictions, calibration."""
