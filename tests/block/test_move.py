"""gather, scatter and scatter_add against plain loops, with their gradients, in both layouts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from tests import oracle_block as oracle
from tests.block.common import (
    GRIDS,
    chain,
    listed,
    normal,
    precision,
    some_rows,
    transposed,
)
from tests.direct.common import BF16, DTYPES, F16, F32, assert_equal, assert_same_bits

pytestmark = pytest.mark.asan

BATCH, CHANNELS = 2, 3
ALL = GRIDS | {f"chain {name}": chain(name) for name in ("unit", "stride", "3d stride", "valid")}


@jax.jit
def everything(x, y, base, blocks, g_blocks, g_image):
    """All three operations in both layouts, and the gradients that g_blocks and g_image give."""

    def last(y):
        return jnp.moveaxis(y, 1, -1)

    gathered, pull = jax.vjp(lambda x: block.gather(x, blocks), x)
    transposed, pull_first = jax.vjp(lambda x: block.gather(x, blocks, channels_first=True), x)
    out = {
        "gather": (gathered, last(transposed)),
        "gather'": (*pull(g_blocks), *pull_first(jnp.moveaxis(g_blocks, -1, 1))),
    }
    y_first = jnp.moveaxis(y, -1, 1)
    for name, onto in (("scatter", block.scatter), ("scatter_add", block.scatter_add)):
        result, pull = jax.vjp(lambda y, base, onto=onto: onto(y, blocks, base), y, base)
        first, pull_first = jax.vjp(
            lambda y, base, onto=onto: onto(y, blocks, base, channels_first=True), y_first, base
        )
        gy, gbase = pull(g_image)
        gy_first, gbase_first = pull_first(g_image)
        out |= {
            name: (result, first),
            f"{name}'y": (gy, last(gy_first)),
            f"{name}'base": (gbase, gbase_first),
        }
    return out


def expected(x, y, base, blocks, g_blocks, g_image):
    g = blocks.geometry
    indices = np.asarray(blocks.indices)
    rows = oracle.stored(indices, g.grid, len(x))
    gy, gbase = oracle.scatter_gradients(g_image, g.tile, rows, len(indices))
    return {
        "gather": oracle.gather(x, g.window, rows, len(indices)),
        "gather'": oracle.gather_gradient(g_blocks, g.window, rows, len(x)),
        "scatter": oracle.scatter(y, g.tile, rows, base),
        "scatter'y": gy,
        "scatter'base": gbase,
        "scatter_add": oracle.scatter_add(y, g.tile, rows, base),
        "scatter_add'y": oracle.gather(g_image, g.tile, rows, len(indices)),
        "scatter_add'base": g_image,
    }


def arrays(rng, g, capacity, channels=CHANNELS, dtype=F32, batch=BATCH):
    """x, y, base and cotangents of blocks and image."""
    x = normal(rng, batch, *g.spatial_shape, channels, dtype=dtype)
    y = normal(rng, capacity, *g.tile_size, channels, dtype=dtype)
    base = normal(rng, batch, *g.out_shape, channels, dtype=dtype)
    g_blocks = normal(rng, capacity, *g.block_size, channels, dtype=dtype)
    return x, y, base, g_blocks, normal(rng, *base.shape, dtype=dtype)


def check(rng, blocks, **sizes):
    x, y, base, g_blocks, g_image = arrays(rng, blocks.geometry, blocks.capacity, **sizes)
    found = everything(x, y, base, blocks, g_blocks, g_image)
    wanted = expected(x, y, base, blocks, g_blocks, g_image)
    assert found.keys() == wanted.keys()
    for name, results in found.items():
        for result in results:
            assert_same_bits(result, wanted[name])


@pytest.mark.parametrize("name", ALL)
def test_every_grid(rng, name):
    g = ALL[name]
    rows = some_rows(g, BATCH, rng)
    check(rng, listed(g, rows, BATCH, len(rows) + 2))


@pytest.mark.core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(rng, dtype):
    """Overlapping sums of half types are rounded once."""
    g = GRIDS["2d overlap"]
    with precision(dtype):
        check(rng, listed(g, some_rows(g, BATCH, rng, 0.7), BATCH), dtype=dtype)


@pytest.mark.core
@pytest.mark.parametrize("share", [0, 1])
def test_no_block_and_all_blocks(rng, share):
    g = GRIDS["2d overlap"]
    check(rng, listed(g, some_rows(g, BATCH, rng, share), BATCH, BATCH * g.blocks))


@pytest.mark.parametrize("channels", [1, 17, 96, 384])
def test_channels(rng, channels):
    g = GRIDS["2d uneven offsets"]
    check(rng, listed(g, some_rows(g, 1, rng), 1), channels=channels, batch=1)


CORRUPT = {
    "unsorted": [[0, 1, 1], [0, 0, 2], [1, 0, 0]],
    "twice": [[0, 0, 1], [0, 0, 1], [1, 0, 0]],
    "beyond the batch": [[0, 0, 1], [1, 2, 2], [7, 0, 0]],
    "beyond the grid": [[0, 0, 0], [0, 0, 99], [1, 0, 0]],
    "negative": [[0, 0, -1], [0, 0, 1], [1, 0, 0]],
    "extreme": [[0, 0, 0], [2**31 - 1, -(2**31), 2**31 - 1], [-(2**31), 0, 0]],
}


@pytest.mark.core
@pytest.mark.parametrize("name", CORRUPT)
def test_a_list_ends_at_the_first_bad_row(rng, name):
    g = GRIDS["2d overlap"]
    check(rng, listed(g, np.array(CORRUPT[name]), BATCH))


def test_a_batch_smaller_than_the_list_was_made_for(rng):
    g = GRIDS["2d"]
    check(rng, listed(g, some_rows(g, BATCH, rng), BATCH), batch=1)


def test_a_batch_larger_than_the_list_was_made_for(rng):
    """Unused rows name the image behind the last one, which there is then: it gains no block."""
    g = GRIDS["2d"]
    rows = some_rows(g, BATCH, rng)
    made = block.reduce_mask(oracle.owner(g.tile, rows, BATCH) >= 0, g, capacity=len(rows) + 2)
    np.testing.assert_array_equal(made.indices[: len(rows)], rows)
    x, y, base, *_ = arrays(rng, g, len(rows) + 2, batch=BATCH + 1)
    in_use = np.arange(len(rows) + 2) < len(rows)
    wanted = oracle.gather(x, g.window, rows, len(rows) + 2)
    assert_same_bits(block.gather(x, made), wanted)
    assert_same_bits(block.scatter(y, made, base), oracle.scatter(y, g.tile, rows, base))
    inside = block.inside(made, batch_size=BATCH + 1)
    np.testing.assert_array_equal(inside.any((1, 2)), in_use)
    parts = block.split(made, BATCH + 1, batch_size=BATCH + 1)
    assert int(parts.count[-1]) == 0 and int(parts.count.sum()) == len(rows)


def test_nan_and_infinity_are_moved_as_they_are(rng):
    g = GRIDS["2d overlap"]
    blocks = listed(g, some_rows(g, 1, rng), 1)
    x, y, base, *_ = arrays(rng, g, blocks.capacity, batch=1)
    for array, value in ((x, np.nan), (y, np.inf), (base, -np.inf), (base, np.nan)):
        array[rng.random(array.shape) < 0.2] = value
    rows = np.asarray(blocks.indices)
    assert_equal(block.gather(x, blocks), oracle.gather(x, g.window, rows, len(rows)))
    assert_equal(block.scatter(y, blocks, base), oracle.scatter(y, g.tile, rows, base))
    assert_equal(block.scatter_add(y, blocks, base), oracle.scatter_add(y, g.tile, rows, base))


@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.int16, np.int32, np.uint8])
def test_integers_are_gathered_and_scattered(rng, dtype):
    g = GRIDS["2d overlap"]
    blocks = listed(g, some_rows(g, 1, rng), 1)
    x = rng.integers(-100, 100, size=(1, *g.spatial_shape, 2)).astype(dtype)
    rows = np.asarray(blocks.indices)
    y = block.gather(x, blocks)
    np.testing.assert_array_equal(y, oracle.gather(x, g.window, rows, len(rows)), strict=True)
    back = block.scatter(y[::-1], blocks, x)
    wanted = oracle.scatter(np.asarray(y)[::-1], g.tile, rows, x)
    np.testing.assert_array_equal(back, wanted, strict=True)


def test_a_gathered_grid_scatters_back():
    """Window and tile the same: every pixel under a block returns."""
    g = GRIDS["2d"]
    x = jnp.arange(108.0).reshape(1, 9, 12, 1)
    blocks = block.reduce_mask(jnp.ones((1, 9, 12)), g)
    np.testing.assert_array_equal(block.scatter(block.gather(x, blocks), blocks, x * 0), x)


def test_layouts_hold_the_same(rng):
    g = GRIDS["3d"]
    blocks = listed(g, some_rows(g, 1, rng), 1)
    x = normal(rng, 1, *g.spatial_shape, 5)
    first = block.gather(x, blocks, channels_first=True)
    assert first.shape == (blocks.capacity, 5, *g.block_size)
    np.testing.assert_array_equal(first, transposed(block.gather(x, blocks)))


def test_second_derivatives(rng):
    """Every adjoint is linear and has an adjoint: the cotangent of a gradient is the result again."""
    g = GRIDS["2d overlap"]
    blocks = listed(g, some_rows(g, 1, rng), 1)
    x, y, base, g_blocks, g_image = arrays(rng, g, blocks.capacity, batch=1)

    def twice(f, primals, cotangent, directions):
        gradients = lambda cotangent: jax.vjp(f, *primals)[1](cotangent)  # noqa: E731
        return jax.vjp(gradients, cotangent)[1](directions)[0]

    @jax.jit
    def run(x, y, base, g_blocks, g_image):
        return [
            (twice(lambda x: block.gather(x, blocks), (x,), g_blocks, (base,)), block.gather(base, blocks)),
            *(
                (twice(lambda y, b, f=f: f(y, blocks, b), (y, base), g_image, (y, x)), f(y, blocks, x))
                for f in (block.scatter, block.scatter_add)
            ),
        ]  # fmt: skip

    for found, wanted in run(x, y, base, g_blocks, g_image):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_half_sums_are_rounded_once():
    """1 + eps/2 + eps/2: one rounding gives 1 + eps, two give 1."""
    for dtype, half in ((BF16, 2.0**-8), (F16, 2.0**-11)):
        g = block.Geometry.regular((2,), 2, stride=1, offset=-1, grid=2)
        blocks = block.reduce_mask(jnp.ones((1, 2)), g)
        y = jnp.full((2, 2, 1), half, dtype)
        out = block.scatter_add(y, blocks, jnp.ones((1, 2, 1), dtype))
        assert out.ravel().tolist() == [1 + 2 * half, 1.0]
