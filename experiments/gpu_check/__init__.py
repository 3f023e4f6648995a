"""The check of the CUDA kernels on a GPU: build, test, sanitise, benchmark. ``python -m experiments.gpu_check --help``.

It needs jax, flax, optax, numpy and pytest, no network, and nothing of the runner.
"""
