"""BlockResidualUnit: its dense twin at every pixel of active tiles, the border included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import block, nn
from tests.block.common import normal
from tests.block.test_jax_rules import copies
from tests.nn.block_kit import assert_trees_close, some_blocks, unsettled, value_and_gradients

Unit = nn.BlockResidualUnit

CASES = {
    "identity": ((9, 12), (6, 8), (8,), {"use_bias": True}),
    "one block over the border": ((5, 6), 9, (8,), {}),
    "projection": ((9, 12), 6, (5, 3, 7), {}),
    "stride, even size": ((10, 12), 9, (6, 2, 8), {"strides": 2}),
    "stride, odd size": ((9, 11), 8, (6,), {"strides": 2}),
    "stride one way": ((9, 12), 7, (6,), {"strides": (1, 2), "kernel_size": (3, 5)}),
    "dilation": ((9, 12), 8, (8,), {"kernel_dilation": 2}),
    "even kernel, 1d": ((17,), 7, (8,), {"kernel_size": 4}),
    "3d": ((5, 6, 7), 5, (8,), {"kernel_size": (3, 3, 3)}),
    "1 channel": ((9, 12), (6, 8), (1,), {}),
    "17 channels": ((9, 12), (6, 8), (17,), {}),
    "96 channels": ((9, 12), (6, 8), (96,), {}),
    "384 channels": ((9, 12), (6, 8), (384,), {}),
}
WITH_GRADIENTS = ("identity", "stride, odd size")


def build(name, rng):
    shape, size, features, options = CASES[name]
    unit = unsettled(Unit(*features, **options, rngs=nnx.Rngs(0)), rng)
    return unit, unit.geometry(shape, size), jnp.asarray(normal(rng, 2, *shape, features[0]))


@pytest.mark.parametrize("name", CASES)
def test_equals_the_dense_twin_inside(rng, name):
    unit, geometry, x = build(name, rng)
    unit.eval()
    blocks, inside = some_blocks(geometry, 2, rng, 0.5)
    assert inside.any()
    base = None
    if name.startswith("stride"):
        base = jnp.asarray(normal(rng, 2, *geometry.out_shape, unit.out_features))
    graph, state, rest = nnx.split(unit, nnx.Param, ...)

    def sparse(state, x, base):
        return nnx.merge(graph, state, rest)(x, blocks, base)

    def elsewhere(x, base):
        if unit.projection is None:
            return x
        return jnp.zeros((2, *geometry.out_shape, unit.out_features)) if base is None else base

    def dense(state, x, base):
        y = nnx.merge(graph, state, rest)(x)
        return jnp.where(jnp.broadcast_to(inside, y.shape), y, elsewhere(x, base))

    if name in WITH_GRADIENTS:
        y, gradients = value_and_gradients(sparse, state, x, base)
        wanted, wanted_gradients = value_and_gradients(dense, state, x, base)
        assert_trees_close(gradients, wanted_gradients, 1e-4, 1e-4)
    else:
        y, wanted = jax.jit(lambda *given: (sparse(*given), dense(*given)))(state, x, base)
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-5)
    outside = np.broadcast_to(~inside, y.shape)
    np.testing.assert_array_equal(y[outside], elsewhere(x, base)[outside])


@pytest.mark.parametrize("name", ["identity", "stride, even size"])
def test_all_blocks_train_as_the_dense_twin(rng, name):
    """The statistics are then those of the whole map: the same results, gradients and running averages."""
    unit, geometry, x = build(name, rng)
    blocks = block.reduce_mask(jnp.ones(x.shape[:-1]), geometry)
    graph, state, rest = nnx.split(unit, nnx.Param, ...)

    def run(blocks):
        def apply(state, x):
            model = nnx.merge(graph, state, rest, copy=True)
            y = model(x, blocks)
            return y, nnx.state(model, nnx.BatchStat)

        @jax.jit
        def both(state, x):
            y, pull, statistics = jax.vjp(apply, state, x, has_aux=True)
            return y, pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)), statistics

        return both(state, x)

    for found, wanted in zip(run(blocks), run(None), strict=True):
        assert_trees_close(found, wanted, 2e-4, 2e-4)


@pytest.mark.parametrize("name", ["identity", "projection"])
def test_no_block(rng, name):
    unit, geometry, x = build(name, rng)
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(unit)))
    blocks = block.reduce_mask(jnp.zeros(x.shape[:-1]), geometry, capacity=2)
    y = nnx.jit(lambda unit, x, blocks: unit(x, blocks))(unit, x, blocks)
    np.testing.assert_array_equal(y, x if name == "identity" else np.zeros(y.shape))
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(unit)), before)


def test_a_chain_of_units_works_in_place(rng):
    """Donated, in inference: no copy of the map, however many units."""
    unit, geometry, x = build("identity", rng)
    unit.eval()
    mask = jnp.asarray(rng.random(x.shape[:-1]) < 0.05)

    def infer(x, mask):
        blocks = block.reduce_mask(mask, geometry, capacity=3)
        for _ in range(3):
            x = unit(x, blocks)
        return x

    wanted = jax.jit(infer)(x, mask)
    assert not np.array_equal(wanted, x)
    executable = jax.jit(infer, donate_argnums=0).lower(x, mask).compile()
    assert copies(executable.as_text(), x.shape) == []
    pointer = x.unsafe_buffer_pointer()
    y = executable(x, mask)
    assert y.unsafe_buffer_pointer() == pointer and x.is_deleted()
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)


def test_vmap(rng):
    unit, geometry, _ = build("identity", rng)
    unit.eval()
    x = jnp.asarray(normal(rng, 3, 1, 9, 12, 8))
    mask = jnp.asarray(rng.random((3, 1, 9, 12)) < 0.05)

    def infer(x, mask):
        return unit(x, block.reduce_mask(mask, geometry))

    mapped = jax.jit(jax.vmap(infer))(x, mask)
    one = jax.jit(infer)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], one(x[i], mask[i]), rtol=1e-4, atol=1e-5)


def test_a_chain_stands_alone(rng):
    """Layers between one gather and one scatter, as the user guide has them: two dense layers at the border, too."""
    convs = [nn.BlockConv(3, 3, (3, 3), rngs=nnx.Rngs(i)) for i in range(2)]
    geometry = block.geometry((9, 10), 8, kernel_sizes=(3, 3))
    x = jnp.asarray(normal(rng, 2, 9, 10, 3))
    blocks, inside = some_blocks(geometry, 2, rng, 0.5)
    for conv in convs:
        conv.bias[...] = jnp.asarray(normal(rng, 3))
    y = jax.nn.relu(convs[0].on_windows(block.gather(x, blocks), blocks))
    y = jnp.where(block.inside(blocks, 1, batch_size=2)[..., None], y, 0)
    y = block.scatter(convs[1].on_windows(y, blocks, 1), blocks, jnp.zeros_like(x))
    wanted = np.where(inside, convs[1](jax.nn.relu(convs[0](x))), 0)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
