"""Sweeps: a grid of settings, drawn ones, seeds; run side by side by Ray Tune on one machine or a cluster."""
