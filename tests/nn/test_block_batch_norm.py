"""BlockBatchNorm: statistics of the pixels of active tiles, each once; nnx.BatchNorm where that is the whole map."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxsparse import block, nn
from tests import oracle_block as oracle
from tests.block.common import GRIDS, chain, listed, normal, some_rows
from tests.nn.block_kit import some_blocks, unsettled


def pixels_under_tiles(geometry, level, rows):
    """{(batch, *pixel)} at a level: under the tiles, and held by the window of a tile that lies over them."""
    box, tile = geometry.levels[level], geometry.tile
    scale = [b // t for b, t in zip(box.stride, tile.stride, strict=True)]
    found = set()
    for row in rows:
        for _, at in oracle.pixels(box, row[1:]):
            under = True
            for a, s, n, step, offset, i in zip(
                at, scale, tile.size, tile.stride, tile.offset, row[1:], strict=True
            ):
                first = (offset + i * step) * s
                under &= first <= a < first + n * s
            if under:
                found.add((int(row[0]), *at))
    return found


CASES = {
    "unit": (chain("unit"), 1),
    "halo": (chain("two"), 0),
    "stride": (chain("stride, even size"), 0),
    "stride above the kernel": (chain("stride above the kernel"), 0),  # pixels that no window holds
    "stride inside a chain": (chain("stride inside a chain"), 1),
    "even kernel": (chain("even kernel"), 0),
    "tiles overlap": (GRIDS["2d deep overlap"], 0),
    "3d tiles overlap": (GRIDS["3d overlap"], 0),
    "holes": (GRIDS["1d holes"], -1),
}


@partial(nnx.jit, static_argnums=3)
def apply(layer, y, blocks, level):
    return layer(y, blocks=blocks, level=level, batch_size=2)


@pytest.mark.parametrize("name", CASES)
def test_each_pixel_under_an_active_tile_counts_once(rng, name):
    geometry, level = CASES[name]
    box = geometry.levels[level]
    rows = some_rows(geometry, 2, rng)
    x = normal(rng, 2, *box.spatial_shape, 3)
    y = oracle.gather(x, box, rows, len(rows) + 2).astype(np.float32)
    outside = ~oracle.gather(np.ones((*x.shape[:-1], 1)), box, rows, len(y)).astype(bool)[..., 0]
    y[outside] = np.nan  # counts nothing: outside of the image, or in a row that is not in use
    blocks = listed(geometry, rows, 2, len(y))
    layer = nn.BlockBatchNorm(3, momentum=0.0, rngs=nnx.Rngs(0))
    normed = apply(layer, jnp.asarray(y), blocks, level)
    pixels = np.array([x[p] for p in sorted(pixels_under_tiles(geometry, level, rows))], float)
    np.testing.assert_allclose(layer.mean[...], pixels.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.var[...], pixels.var(0), rtol=1e-5)
    wanted = (y - pixels.mean(0)) / np.sqrt(pixels.var(0) + 1e-5)
    np.testing.assert_allclose(normed, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.core
def test_all_blocks_are_nnx_batch_norm(rng):
    geometry = chain("unit")
    x = jnp.asarray(normal(rng, 2, *geometry.spatial_shape, 3))
    layers = [
        unsettled(kind(3, use_fast_variance=False, rngs=nnx.Rngs(0)), np.random.default_rng(1))
        for kind in (nn.BlockBatchNorm, nnx.BatchNorm)
    ]
    blocks = block.reduce_mask(jnp.ones(x.shape[:-1]), geometry)
    inside = block.inside(blocks, batch_size=2)
    for mode in ("train", "eval"):
        for layer in layers:
            getattr(layer, mode)()
        y = apply(layers[0], block.gather(x, blocks), blocks, 0)
        wanted = block.gather(layers[1](x), blocks)
        np.testing.assert_allclose(y[inside], wanted[inside], rtol=1e-4, atol=1e-5)
        for name in ("mean", "var"):
            ours, theirs = (getattr(layer, name)[...] for layer in layers)
            np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(
        layers[0](x), layers[1](x), rtol=1e-5, atol=1e-6
    )  # without blocks: handed on


@pytest.mark.core
def test_no_active_block_keeps_the_statistics(rng):
    geometry = chain("3")
    layer = unsettled(nn.BlockBatchNorm(3, rngs=nnx.Rngs(0)), rng)
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(layer)))
    blocks = block.reduce_mask(jnp.zeros((2, *geometry.spatial_shape)), geometry, capacity=4)
    y = block.gather(jnp.ones((2, *geometry.spatial_shape, 3)), blocks)

    def loss(layer, y):
        return jnp.sum(layer(y, blocks=blocks, batch_size=2))

    gradient = nnx.grad(loss)(layer, y)
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(layer)), before)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.core
def test_statistics_of_all_devices(rng):
    """One list a device, one of them empty: as one list over the whole batch."""
    geometry = chain("two")
    x = jnp.asarray(normal(rng, 4, *geometry.spatial_shape, 3))
    blocks, _ = some_blocks(geometry, 4, rng)
    rows = np.asarray(blocks.indices)
    rows = rows[(rows[:, 0] < 4) & (rows[:, 0] != 2)]
    blocks = listed(geometry, rows, 4, len(rows) + 1)
    whole = nn.BlockBatchNorm(3, rngs=nnx.Rngs(0))
    wanted = whole(block.gather(x, blocks), blocks=blocks, batch_size=4)
    wanted = block.scatter(wanted[:, 2:5, 3:6], blocks, jnp.zeros_like(x))
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    part = nn.BlockBatchNorm(3, axis_name="data", rngs=nnx.Rngs(0))
    graph, state = nnx.split(part)

    def step(x, blocks):
        blocks = jax.tree.map(lambda a: a[0], blocks)
        layer = nnx.merge(graph, state, copy=True)
        y = layer(block.gather(x, blocks), blocks=blocks, batch_size=1)
        y = block.scatter(y[:, 2:5, 3:6], blocks, jnp.zeros_like(x))
        return y, nnx.state(layer, nnx.BatchStat)

    run = jax.shard_map(
        step, mesh=mesh, in_specs=(P("data"), P("data")), out_specs=(P("data"), P())
    )
    y, statistics = jax.jit(run)(x, block.split(blocks, 4, batch_size=4))
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        ours, theirs = statistics[name][...], getattr(whole, name)[...]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)
