"""Benchmarks: the thing and what a user would pick instead, in one process, alternating, as ratios."""
