"""Statistics of arrays alone: yields with intervals, quantiles, bands, sequences that stop early, resampling."""
