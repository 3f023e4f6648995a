"""CUDA kernels, emulated or on a GPU, against the CPU's."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core.kernel import Kernel
from tests.direct.common import F32, assert_same_bits, precision
from tests.emulation import on_cpu, on_cuda

# Slots of a list: around a warp, a block and one step of it, and where a list becomes the work of several blocks
# (xla_kernels/src/cuda/chunks.h).
SLOTS = (1, 31, 255, 600, 8192, 8193, 10240, 13000)
WHOLE_LIST = 8192


def lists(rng, batch, channels, slots, volume, dtype=F32, kind="mixed"):
    """Keys and values: full, empty and shorter lists; some ("corrupt") end where a key is wrong."""
    keys = np.full((batch, channels, slots), volume, np.int32)
    for i, row in enumerate(keys.reshape(-1, slots)):
        n = min(
            volume,
            (slots, 0, slots // 2, slots - 1, slots // 3)[i % 5] if kind != "full" else slots,
        )
        row[:n] = np.sort(rng.choice(volume, n, replace=False))
        if kind == "corrupt" and n:
            row[rng.integers(n)] = rng.choice([-1, volume, 0, 2**31 - 1, -(2**31)])
    values = rng.normal(size=keys.shape)
    values[rng.random(keys.shape) < 0.05] = 0
    special = rng.random(keys.shape) < 0.02
    values[special] = rng.choice([np.nan, np.inf, -np.inf, -0.0, 1e-42], special.sum())
    return keys, values.astype(dtype)


Call = tuple[Kernel, Any, tuple[Any, ...]]
"""A kernel, its static parameters, its operands."""


def both(kernel: Kernel, static, *operands, seed=1, dtype=F32):
    """Results of the CUDA kernel, and on the CPU."""
    ((got, expected),) = all_of_both([(kernel, static, operands)], seed, dtype)
    return got, expected


def all_of_both(calls: Sequence[Call], seed=1, dtype=F32):
    """The same for several kernels, which share a program: most of a test's time is XLA's compiler."""
    with precision(dtype):
        with on_cpu():
            expected = _run(calls)
        with on_cuda(seed):
            got = _run(calls)
    return list(zip(got, expected, strict=True))


def _run(calls: Sequence[Call]):
    """A program of its own each time: what is traced depends on the context."""
    arrays = [[None if x is None else jnp.asarray(x) for x in operands] for *_, operands in calls]

    def run(arrays):
        return [
            kernel.native(static, *xs)
            for (kernel, static, _), xs in zip(calls, arrays, strict=True)
        ]

    return jax.block_until_ready(jax.jit(run)(arrays))


def assert_like_cpu(kernel: Kernel, static, *operands, seed=1, dtype=F32):
    """The same bits from both, in every result."""
    assert_all_like_cpu([(kernel, static, operands)], seed, dtype)


def assert_all_like_cpu(calls: Sequence[Call], seed=1, dtype=F32):
    """The same for several kernels."""
    for got, expected in all_of_both(calls, seed, dtype):
        assert len(got) == len(expected)
        for ours, theirs in zip(got, expected, strict=True):
            if np.asarray(theirs).dtype.kind in "iub":
                np.testing.assert_array_equal(ours, theirs, strict=True)
            else:
                assert_same_bits(ours, theirs)
