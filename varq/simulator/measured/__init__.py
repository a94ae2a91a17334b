"""Circuits with mid-circuit measurements: trajectories for shots, exact sums over branches without."""
