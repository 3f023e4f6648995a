"""reduce_mask against plain loops: order, ties, NaN, borders, capacity, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse.block import Geometry
from tests import oracle_block as oracle
from tests.block.common import CHAINS, GRIDS, chain, precision
from tests.direct.common import BF16, DTYPES, F16, F32, F64

pytestmark = [pytest.mark.core, pytest.mark.asan]

BATCH = 2


def assert_like_oracle(mask, geometry, **arguments):
    blocks = block.reduce_mask(jnp.asarray(mask), geometry, **arguments)
    indices, count = oracle.reduce_mask(mask, geometry.window, geometry.grid, **arguments)
    np.testing.assert_array_equal(blocks.indices, indices, strict=True)
    assert blocks.count.shape == () and blocks.count.dtype == jnp.int32
    assert int(blocks.count) == count
    assert int(blocks.stored) == min(count, len(indices))
    assert int(blocks.overflow) == max(count - len(indices), 0)
    assert blocks.geometry is geometry
    blocks.validate(len(mask))
    return blocks


def masks(rng, geometry, dtype=F32):
    x = rng.normal(size=(BATCH, *geometry.spatial_shape))
    return np.where(rng.random(x.shape) < 0.15, x, 0).astype(dtype)


ALL = GRIDS | {f"chain {name}": chain(name) for name in CHAINS}


@pytest.mark.parametrize("name", ALL)
def test_every_grid(rng, name):
    geometry = ALL[name]
    mask = masks(rng, geometry)
    for mode in ("max", "mean"):
        blocks = assert_like_oracle(mask, geometry, mode=mode, threshold=0.05)
        few = max(1, int(blocks.count) // 2)
        assert_like_oracle(mask, geometry, mode=mode, threshold=0.05, capacity=few)


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(bool)], ids=str)
def test_every_dtype(rng, dtype):
    with precision(dtype):
        mask = masks(rng, GRIDS["2d overlap"], dtype)
        for arguments in ({}, {"mode": "mean"}, {"threshold": 0.3, "mode": "mean", "capacity": 3}):
            assert_like_oracle(mask, GRIDS["2d overlap"], **arguments)


@pytest.mark.parametrize("dtype", [F32, F64, BF16, F16], ids=str)
@pytest.mark.parametrize("mode", ["max", "mean"])
def test_the_comparison_is_strict(dtype, mode):
    with precision(dtype):
        threshold = float(np.asarray(0.7, dtype))
        mask = np.full((1, 6), threshold, dtype)
        mask[0, 4:] = np.nextafter(np.asarray(0.7, dtype), np.asarray(1, dtype))
        g = Geometry.regular((6,), 2)
        blocks = assert_like_oracle(mask, g, threshold=threshold, mode=mode)
        assert blocks.indices.tolist() == [[0, 2], [1, 0], [1, 0]]


def test_no_active_block_is_no_block():
    g = GRIDS["2d"]
    blocks = assert_like_oracle(np.zeros((BATCH, *g.spatial_shape), F32), g)
    assert int(blocks.count) == 0 and (blocks.indices[:, 0] == BATCH).all()


def test_all_blocks_are_the_default_capacity():
    g = GRIDS["3d"]
    blocks = assert_like_oracle(np.ones((BATCH, *g.spatial_shape), bool), g)
    assert blocks.capacity == int(blocks.count) == BATCH * g.blocks


def test_of_too_many_the_highest_stay_and_ties_go_to_the_first():
    g = Geometry.regular((8,), 1)
    mask = np.array([[1, 3, 2, 3, 1, 3, np.inf, 2], [2, 3, 0, -1, 3, 0, 0, 5]], F32)
    for capacity in range(1, 14):
        blocks = assert_like_oracle(mask, g, capacity=capacity)
        assert int(blocks.count) == 12
    blocks = block.reduce_mask(mask, g, capacity=4)
    assert blocks.indices.tolist() == [[0, 1], [0, 3], [0, 6], [1, 7]]


@pytest.mark.parametrize("mode", ["max", "mean"])
def test_nan_is_active_and_ranks_above_all(mode):
    g = Geometry.regular((8,), 2)
    nan = np.array(np.nan, F32)
    mask = np.array(
        [[9, 9, np.inf, 0, 0, nan, 1, 1], [-np.inf, np.inf, -nan, 5, -1, 0, 0, -2]], F32
    )
    for capacity in (None, 1, 2, 3, 4):
        assert_like_oracle(mask, g, mode=mode, capacity=capacity)
    assert block.reduce_mask(mask, g, mode=mode, capacity=2).indices[0].tolist() == [0, 2]


def test_thresholds_below_everything():
    g = Geometry.regular((4, 5), 3, offset=(-3, 0), grid=(3, 2))  # the first row is outside
    mask = np.zeros((1, 4, 5), F32)
    for threshold in (-1.0, -np.inf, jnp.float32(-np.inf)):
        for mode in ("max", "mean"):
            blocks = assert_like_oracle(mask, g, threshold=threshold, mode=mode)
            assert int(blocks.count) == 4
    assert int(block.reduce_mask(mask - np.inf, g, threshold=-np.inf).count) == 0


def test_the_mean_is_over_pixels_inside_the_image():
    mask = np.ones((1, 5, 5), F32)
    g = Geometry.regular((5, 5), 4, offset=-2)
    assert int(block.reduce_mask(mask, g, threshold=0.99, mode="mean").count) == g.blocks


def test_the_mean_of_a_large_window_is_exact(rng):
    """A sum in float32 would not see the last ones: more pixels than a segment of the sum has."""
    mask = np.full((1, 150, 130), 1e8, F32)
    mask[0, :, ::2] = -1e8
    mask[0, 7, 3] += 1024.0
    g = Geometry.regular((150, 130), (150, 130))
    mean = float(mask.astype(np.float64).mean())
    assert mean > 0
    for factor, active in ((0.999, 1), (1.001, 0)):
        blocks = block.reduce_mask(mask, g, threshold=mean * factor, mode="mean")
        assert int(blocks.count) == active


def test_subnormal_masks_are_numbers():
    least = np.array(1e-40, F32)
    mask = np.array([[0, least, 0, 0]], F32)
    blocks = assert_like_oracle(mask, Geometry.regular((4,), 2))
    assert int(blocks.count) == 1


def test_the_threshold_may_be_traced_and_nothing_has_a_gradient():
    g = GRIDS["1d"]
    mask = jnp.linspace(0.0, 1.0, 26).reshape(2, 13)

    @jax.jit
    def count(mask, threshold):
        return block.reduce_mask(mask, g, threshold=threshold).count

    assert [int(count(mask, t)) for t in (0.0, 0.5, jnp.float32(2))] == [8, 4, 0]
    gradient = jax.grad(lambda m: jnp.sum(m) + count(m, 0.5).astype(jnp.float32))(mask)
    np.testing.assert_array_equal(gradient, np.ones_like(mask))


def test_an_empty_batch():
    blocks = block.reduce_mask(np.zeros((0, 9, 12), bool), GRIDS["2d"])
    assert blocks.indices.tolist() == [[0, 0, 0]] and int(blocks.count) == 0
