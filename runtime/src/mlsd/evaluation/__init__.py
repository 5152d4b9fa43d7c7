"""Pure statistics: metrics, intervals, calibration, binning, distances of distributions."""
