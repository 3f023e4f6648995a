"""gather, scatter, scatter_add and erase of blocks on the GPU: the same bits as on the CPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse.block import _kernels
from jaxsparse.block._kernels import Boxes, Move
from tests.block.common import GRIDS, chain, some_rows
from tests.block.test_move import CORRUPT
from tests.cuda.common import assert_all_like_cpu, assert_like_cpu
from tests.direct.common import BF16, DTYPES, F16, F32
from tests.emulation import on_cpu, on_cuda

BATCH = 2
SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 1e-42)
ALL = GRIDS | {f"chain {name}": chain(name) for name in ("unit", "stride", "3d stride", "valid")}
# Lists that every block of threads counts itself, and longer ones (xla_kernels/src/block/move_cuda.h).
ROWS_OF_BLOCK = 2048


def values(rng, shape, dtype=F32):
    if np.dtype(dtype).kind in "iub":
        return rng.integers(0, 100, size=shape).astype(dtype)
    x = rng.normal(size=shape)
    special = rng.random(shape) < 0.05
    x[special] = rng.choice(SPECIAL, special.sum())
    return x.astype(dtype)


def list_of(rows, capacity, batch=BATCH):
    indices = np.zeros((capacity, rows.shape[1]), np.int32)
    indices[:, 0] = batch
    indices[: len(rows)] = rows[:capacity]
    return indices


def check(rng, geometry, indices, channels=3, dtype=F32, batch=BATCH, first=(False, True), seed=1):
    """All kernels, on the window and on the tile of a geometry, in both layouts."""
    calls = []
    for tiling in {geometry.window, geometry.tile}:
        boxes = Boxes(tiling, geometry.grid)
        image = values(rng, (batch, *tiling.spatial_shape, channels), dtype)
        calls.append((_kernels.erase, Move(boxes, False), (indices, image)))
        for channels_first in first:
            move = Move(boxes, channels_first)
            shape = (channels, *tiling.size) if channels_first else (*tiling.size, channels)
            y = values(rng, (len(indices), *shape), dtype)
            calls += [
                (_kernels.gather, move, (image, indices)),
                (_kernels.gather, move._replace(shown=True), (image, indices)),
                (_kernels.scatter, move, (y, indices, image)),
            ]
            if dtype in DTYPES:
                calls.append((_kernels.scatter_add, move, (y, indices, image)))
    assert_all_like_cpu(calls, seed, dtype)


@pytest.mark.parametrize("name", ALL)
def test_every_grid(rng, name):
    g = ALL[name]
    rows = some_rows(g, BATCH, rng)
    check(rng, g, list_of(rows, len(rows) + 2))


@pytest.mark.parametrize("name", ["2d overlap", "2d deep overlap", "2d"])
@pytest.mark.parametrize("share", [0, 1])
def test_no_block_and_all_blocks(rng, name, share):
    g = GRIDS[name]
    check(rng, g, list_of(some_rows(g, BATCH, rng, share), BATCH * g.blocks), channels=4)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 17, 33, 96])
def test_channels(rng, channels):
    """Of which some are moved 16 bytes at once, some one by one; and tiles that are turned around are not full."""
    g = GRIDS["2d overlap"]
    check(rng, g, list_of(some_rows(g, 1, rng), 5, 1), channels=channels, batch=1)


@pytest.mark.parametrize("channels", [3, 4, 8])
@pytest.mark.parametrize("dtype", [*DTYPES, np.bool_, np.int8, np.int16, np.int32], ids=str)
def test_every_dtype(rng, dtype, channels):
    dtype = np.dtype(dtype)
    g = GRIDS["2d overlap"]
    check(rng, g, list_of(some_rows(g, BATCH, rng, 0.7), 30), channels=channels, dtype=dtype)


@pytest.mark.parametrize("name", CORRUPT)
def test_a_list_ends_at_the_first_bad_row(rng, name):
    check(rng, GRIDS["2d overlap"], np.array(CORRUPT[name], np.int32), channels=4)


@pytest.mark.parametrize("rows", [ROWS_OF_BLOCK, ROWS_OF_BLOCK + 1, 5000])
def test_long_lists(rng, rows):
    """Ends are found in a launch before; in any of its blocks, and between two of them."""
    g = block.Geometry.regular((70, 80), 2, stride=1)
    every = some_rows(g, 1, rng, 1.0)
    assert len(every) > 5000
    for end in (rows, 1, ROWS_OF_BLOCK - 1, ROWS_OF_BLOCK, rows - 1):
        indices = list_of(every[:rows], rows, 1)
        if end < rows:
            indices[end] = indices[end - 1]
        check(rng, g, indices, channels=1, batch=1, first=(end == 1,))


def test_windows_larger_than_a_block_of_threads(rng):
    g = block.geometry((40, 50), (22, 30), kernel_sizes=3)
    check(rng, g, list_of(some_rows(g, 1, rng, 1.0), g.blocks, 1), channels=2, batch=1)


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_half_sums_are_rounded_once(rng, dtype):
    g = GRIDS["2d deep overlap"]
    check(rng, g, list_of(some_rows(g, BATCH, rng, 1), BATCH * g.blocks), channels=8, dtype=dtype)


@pytest.mark.parametrize("seed", range(2, 6))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    g = GRIDS["2d deep overlap"]
    check(rng, g, list_of(some_rows(g, BATCH, rng, 0.8), BATCH * g.blocks), channels=5, seed=seed)


def test_empty_batches():
    g = GRIDS["2d"]
    move = Move(Boxes(g.window, g.grid), False)
    x, indices = np.zeros((0, 9, 12, 4), F32), np.zeros((3, 3), np.int32)
    assert_like_cpu(_kernels.gather, move, x, indices)
    assert_like_cpu(_kernels.scatter, move, np.ones((3, 3, 4, 4), F32), indices, x)


def test_a_donated_base_stays_where_it_is(rng):
    g = chain("unit")
    with on_cuda():
        base = jax.device_put(values(rng, (1, 9, 12, 4))) + 0
        address = base.unsafe_buffer_pointer()

        def step(base):
            blocks = block.reduce_mask(base[..., 0], g, capacity=4)
            return block.scatter_add(block.gather(base, blocks)[:, 1:-1, 1:-1], blocks, base)

        out = jax.jit(step, donate_argnums=0)(base)
        assert out.unsafe_buffer_pointer() == address


@pytest.mark.parametrize("name", ["3", "stride"])
def test_convolution_and_its_gradients(rng, name):
    """The whole path; between the kernels XLA's convolution, the CPU's in the emulation."""
    g = chain(name)
    strides = 2 if name == "stride" else 1
    x = rng.normal(size=(BATCH, *g.spatial_shape, 4)).astype(F32)
    kernel = rng.normal(size=(3, 3, 4, 4)).astype(F32)
    mask = rng.random((BATCH, *g.spatial_shape)) < 0.05

    def loss(x, kernel, base):
        blocks = block.reduce_mask(mask, g, capacity=6)
        return (block.conv(x, kernel, blocks=blocks, base=base, strides=strides) ** 3).sum()

    def run():  # a program of its own for each: what is traced depends on the context
        base = jnp.ones((BATCH, *g.out_shape, 4))
        return jax.jit(jax.value_and_grad(lambda *xs: loss(*xs), (0, 1, 2)))(x, kernel, base)

    with on_cpu():
        expected = jax.tree.leaves(run())
    with on_cuda():
        found = jax.tree.leaves(run())
    for ours, theirs in zip(found, expected, strict=True):
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * scale)
