"""The convolution over kernel maps on the GPU: the CPU's bits for float32 and float64, its numbers to rounding on tensor cores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import voxel
from jaxsparse.voxel import _conv_kernels
from jaxsparse.voxel._conv_kernels import Conv
from tests.cuda.common import all_of_both
from tests.direct.common import BF16, DTYPES, F32, F64, assert_same_bits
from tests.emulation import on_cpu, on_cuda

# Taps, rows of the input and of the output, channels of both, groups: within a tile and over several, every channel count
# that moves in one way or another, depthwise and thin groups, more output rows than one stretch of the kernel's gradient.
SIZES = {
    "one": (1, 1, 1, 1, 1, 1),
    "odd": (5, 40, 70, 5, 7, 1),
    "packed": (3, 150, 140, 40, 72, 1),
    "one channel": (3, 50, 30, 1, 16, 1),
    "groups": (2, 40, 70, 24, 48, 3),
    "depthwise": (3, 40, 50, 6, 6, 6),
    "depth multiplier": (2, 40, 50, 3, 6, 3),
    "thin groups": (2, 30, 40, 6, 10, 2),
    "several stretches": (2, 90, 1300, 3, 4, 1),
    "thin, several stretches": (2, 90, 1300, 4, 4, 4),
    "no input": (2, 0, 5, 3, 4, 1),
}


def operands(rng, size, dtype, transposed=False):
    taps, inputs, outputs, ci, co, groups = size
    x, g = rng.normal(size=(inputs, ci)), rng.normal(size=(outputs, co))
    matrix = (co // groups, ci) if transposed else (ci // groups, co)
    kernel = rng.normal(size=(taps, *matrix))
    map = rng.integers(-1, 2 * inputs + 1, (taps, outputs), dtype=np.int32)
    map[0] = inputs  # a tap that nobody has
    return x.astype(dtype), kernel.astype(dtype), map, g.astype(dtype)


def calls_of(rng, size, dtype):
    for transposed in (False, True):
        x, kernel, map, g = operands(rng, size, dtype, transposed)
        yield _conv_kernels.map_conv, Conv(size[-1], transposed), (x, kernel, map)
    yield _conv_kernels.map_conv_kernel_grad, size[-1], (x, g, map)


def assert_close(ours, theirs):
    """Of sums of up to 1300 numbers around 1: products are exact in the accumulator, their sums are in another order."""
    limit = 2e-4 if ours.dtype == F32 else 1e-12
    np.testing.assert_allclose(np.asarray(ours, F64), np.asarray(theirs, F64), rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_size(rng, dtype):
    calls = [c for size in SIZES.values() for c in calls_of(rng, size, dtype)]
    for (kernel, *_), ((ours,), (theirs,)) in zip(
        calls, all_of_both(calls, dtype=dtype), strict=True
    ):
        assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
        if kernel is _conv_kernels.map_conv and dtype in (F32, F64):
            assert_same_bits(ours, theirs)
        else:
            assert_close(ours, theirs)


@pytest.mark.parametrize("dtype", [F32, BF16], ids=str)
def test_a_weight_that_is_not_finite_meets_only_rows_that_have_its_tap(rng, dtype):
    x, kernel, map, _ = operands(rng, (3, 40, 70, 16, 16, 1), dtype)
    kernel[1, 2, 3], kernel[2, 0, 5] = np.inf, np.nan
    (((ours,), (theirs,)),) = all_of_both([(_conv_kernels.map_conv, Conv(1), (x, kernel, map))])
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    np.testing.assert_array_equal(np.isfinite(ours), np.isfinite(theirs))
    without = np.all((map < 0) | (map >= 40), axis=0)
    assert without.any() and np.all(ours[without] == 0)


@pytest.mark.parametrize("seed", [2, 3])
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    calls = list(calls_of(rng, (2, 90, 1300, 3, 4, 1), BF16))
    for ((first,), _), ((again,), _) in zip(
        all_of_both(calls), all_of_both(calls, seed), strict=True
    ):
        assert_same_bits(first, again)


def test_a_network_from_points_to_gradients(rng):
    coords = np.stack([rng.integers(0, n, 90) for n in (2, 7, 6, 8)], axis=1).astype(np.int32)
    features, weights = (rng.normal(size=size).astype(F32) for size in ((90, 3), (27, 3, 4)))
    weights = weights.reshape(3, 3, 3, 3, 4)

    def run():
        def loss(features, weights):
            x = voxel.VoxelTensor.from_coords(
                coords, features, batch_size=2, spatial_shape=(7, 6, 8), duplicates="mean",
                background=jnp.ones(3),
            )  # fmt: skip
            y = voxel.relu(voxel.submanifold_conv(x, weights))
            y = voxel.max_pool(voxel.conv(y, jnp.ones((2, 2, 2, 4, 4)), strides=2), 3, 2)
            return jnp.sum(voxel.global_avg_pool(y) ** 2)

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(features, weights)

    with on_cpu():
        expected = jax.block_until_ready(run())
    with on_cuda():
        got = jax.block_until_ready(run())
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
        assert np.abs(np.asarray(theirs)).max() > 0.1
