"""Sizes of the original's tests: many blocks, many channels. (Offsets past 2^31: `ctests/block_test.cc`.)"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse.block import Geometry
from tests.block.common import listed, normal


def test_1500_by_490_blocks(rng):
    """Of one to four pixels, most of them active, then few."""
    g = Geometry.regular((1500, 980), (1, 2))
    assert g.grid == (1500, 490)
    x = jnp.asarray(normal(rng, 1, 1500, 980, 1))
    run = jax.jit(
        lambda x, limit: (
            blocks := block.reduce_mask(x[..., 0], g, threshold=limit),
            y := block.gather(x, blocks),
            block.scatter(2 * y, blocks, x),
        )
    )
    pooled = np.asarray(x).reshape(1500, 490, 2).max(-1)
    for limit in (-1.0, 3.5):
        blocks, y, out = run(x, limit)
        active = np.argwhere(pooled > limit)
        assert int(blocks.count) == len(active)
        indices = np.asarray(blocks.indices)
        np.testing.assert_array_equal(indices[: len(active), 1:], active)
        assert (indices[len(active) :] == [1, 0, 0]).all()
        inside = np.repeat(pooled > limit, 2, axis=1)[None, ..., None]
        np.testing.assert_array_equal(out, np.where(inside, 2 * x, x))
        assert not np.asarray(y)[len(active) :].any()


def test_cutting_many_blocks_keeps_the_highest(rng):
    g = Geometry.regular((1500, 490), 1)
    mask = rng.permutation(1500 * 490).reshape(1, 1500, 490).astype(np.float32) + 1
    blocks = block.reduce_mask(mask, g, capacity=1000)
    rows = np.asarray(blocks.indices)
    assert int(blocks.count) == mask.size and int(blocks.overflow) == mask.size - 1000
    kept = mask[tuple(rows.T)]
    assert sorted(kept.tolist()) == list(range(mask.size - 999, mask.size + 1))
    assert (np.diff(np.ravel_multi_index(tuple(rows.T), mask.shape)) > 0).all()


@pytest.mark.parametrize("channels_first", [False, True])
def test_5000_channels(rng, channels_first):
    g = block.geometry((7, 9), (5, 4), kernel_sizes=3)
    rows = np.array([[0, 0, 1], [0, 1, 0], [0, 2, 3]])
    blocks = listed(g, rows, 1, 4)
    x = normal(rng, 1, 7, 9, 5000)

    @jax.jit
    def run(x):
        y = block.gather(x, blocks, channels_first=channels_first)
        inner = y[:, :, 1:-1, 1:-1] if channels_first else y[:, 1:-1, 1:-1]
        return block.scatter_add(inner, blocks, x, channels_first=channels_first)

    inside = np.zeros((1, 7, 9, 1))
    for _, i, j in rows:
        inside[0, 3 * i : 3 * i + 3, 2 * j : 2 * j + 2] = 1
    np.testing.assert_array_equal(run(x), x * (1 + inside).astype(np.float32))
