"""The container: what it says of itself, what it refuses; which pixels of its blocks are in the image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse.block import BlockIndices, Geometry
from tests import oracle_block as oracle
from tests.block.common import GRIDS, chain, listed, some_rows

G = GRIDS["2d"]  # 3 x 3 blocks
BATCH = 2


def make(rows, count=None):
    rows = jnp.asarray(rows, jnp.int32)
    return BlockIndices(rows, jnp.int32(len(rows) if count is None else count), G)


GOOD = [[0, 0, 1], [0, 2, 0], [1, 0, 0], [2, 0, 0], [2, 0, 0]]


@pytest.mark.core
def test_derived():
    blocks = make(GOOD, 3)
    assert (blocks.capacity, int(blocks.stored), int(blocks.overflow)) == (5, 3, 0)
    cut = make(GOOD[:3], 7)
    assert (cut.capacity, int(cut.stored), int(cut.overflow)) == (3, 3, 4)
    assert blocks.replace(count=jnp.int32(2)).count == 2
    assert "capacity=5" in repr(blocks) and "BlockIndices" in repr(
        jax.tree.map(lambda _: None, blocks)
    )


@pytest.mark.core
@pytest.mark.parametrize("rows, count", [(GOOD, 3), (GOOD[:3], 3), (GOOD[:3], 9), (GOOD[3:], 0)])
def test_sound_lists(rows, count):
    for batch_size in (None, BATCH):
        assert make(rows, count).validate(batch_size).count == count
    again = BlockIndices.from_indices(rows, G, batch_size=BATCH, count=count)
    np.testing.assert_array_equal(again.indices, rows)
    if count <= len(rows):
        assert BlockIndices.from_indices(rows, G, batch_size=BATCH).count == count


BAD = {
    "negative": ([[0, -1, 0]], 1, "inside a batch and the grid"),
    "beyond the grid": ([[0, 0, 1], [0, 3, 0]], 2, "inside a batch and the grid"),
    "unsorted": ([[0, 2, 0], [0, 0, 1]], 2, "strictly ascending raster order"),
    "twice": ([[0, 2, 0], [0, 2, 0]], 2, "strictly ascending raster order"),
    "unsorted images": ([[1, 0, 0], [0, 0, 0]], 2, "strictly ascending raster order"),
    "unused rows that point somewhere": ([[0, 0, 1], [2, 0, 1]], 1, "in unused rows"),
    "unused rows in between": ([[0, 0, 1], [2, 0, 0], [1, 0, 0]], 2, "in unused rows|ascending"),
    "count too small": ([[0, 0, 1], [1, 0, 1]], 1, "in unused rows|count must be 2"),
    "count too large": ([[0, 0, 1], [2, 0, 0]], 2, "count must be 1|ascending"),
}


@pytest.mark.core
@pytest.mark.parametrize("name", BAD)
def test_unsound_lists(name):
    rows, count, says = BAD[name]
    with pytest.raises(ValueError, match=says):
        make(rows, count).validate(BATCH)
    if (
        name != "count too large"
    ):  # that the last image has a block at the origin is not to be excluded
        with pytest.raises(ValueError, match=says):
            make(rows, count).validate()


def test_contents_are_not_looked_at_inside_jit():
    jax.jit(lambda rows: make(rows).validate(BATCH).count)(np.array(BAD["twice"][0]))


@pytest.mark.parametrize("name", ["unit", "explicit", "3d stride"])
def test_inside(rng, name):
    g = chain(name)
    rows = some_rows(g, BATCH, rng)
    blocks = listed(g, rows, BATCH, len(rows) + 1)
    for level in (*range(len(g.levels)), -1):
        tiling = g.levels[level]
        wanted = np.zeros((blocks.capacity, *tiling.size), bool)
        for i, (_, *position) in enumerate(rows):
            for pixel, _ in oracle.pixels(tiling, position):
                wanted[(i, *pixel)] = True
        found = block.inside(blocks, level, batch_size=BATCH)
        np.testing.assert_array_equal(found, wanted, strict=True)


def test_blocks_beyond_int32_are_not_inside():
    """Box 4 starts at 2^32, which is 0 again in int32."""
    g = Geometry.regular((5,), 2, stride=2**30, grid=8)
    blocks = listed(g, np.array([[0, 0], [0, 4]], np.int32), 1)
    assert block.inside(blocks, batch_size=1).tolist() == [[True, True], [False, False]]


@pytest.mark.core
def test_rows_in_use_are_those_that_the_kernels_go_by(rng):
    """The list ends at the first bad row, in arrays as in the kernels."""
    g = GRIDS["2d overlap"]
    ones = np.ones((BATCH, *g.spatial_shape, 1), np.float32)
    for _ in range(20):
        rows = np.array(list(np.ndindex(BATCH, *g.grid)), np.int32)[::2]
        for _ in range(rng.integers(1, 3)):
            i, column = rng.integers(len(rows)), rng.integers(3)
            rows[i, column] += rng.integers(-3, 4)
        blocks = listed(g, rows, BATCH)
        found = block.inside(blocks, batch_size=BATCH)
        np.testing.assert_array_equal(found, block.gather(ones, blocks)[..., 0] == 1)
