"""BlockConv: nnx.Conv's results inside active tiles, the base elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import block, nn
from tests.block.common import normal
from tests.nn.block_kit import assert_trees_close, some_blocks, value_and_gradients

CASES = {
    "1d": ((17,), 6, (3,), {"padding": ((2, 0),)}),
    "stride": ((11, 14), 9, (3, 3), {"strides": 2}),
    "dilation": ((11, 14), (7, 8), (3, 2), {"kernel_dilation": (2, 1), "use_bias": False}),
    "3d": ((5, 6, 7), 5, (3, 3, 3), {"strides": (1, 2, 1), "padding": "VALID"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_kernel_of_nnx_conv_drops_in(rng, name):
    shape, size, kernel, options = CASES[name]
    theirs = nnx.Conv(3, 5, kernel, precision="highest", **options, rngs=nnx.Rngs(0))
    ours = nn.BlockConv(3, 5, kernel, **options, rngs=nnx.Rngs(1))
    nnx.update(ours, nnx.state(theirs))
    if ours.bias is not None:
        ours.bias[...] = theirs.bias[...] = jnp.asarray(normal(rng, 5))
    x = jnp.asarray(normal(rng, 2, *shape, 3))
    geometry = ours.geometry(shape, size)
    blocks, inside = some_blocks(geometry, 2, rng)
    base = jnp.asarray(normal(rng, 2, *geometry.out_shape, 5))
    assert inside.any() and not inside.all()
    graph, state = nnx.split(ours)
    their_graph, _ = nnx.split(theirs)

    def sparse(state, x, base):
        return nnx.merge(graph, state)(x, blocks, base)

    def dense(state, x, base):
        y = nnx.merge(their_graph, state)(x)
        return jnp.where(jnp.broadcast_to(inside, y.shape), y, base)

    if name == "stride":
        y, gradients = value_and_gradients(sparse, state, x, base)
        wanted, wanted_gradients = value_and_gradients(dense, state, x, base)
        assert_trees_close(gradients, wanted_gradients, 1e-4, 2e-5)
    else:
        y, wanted = jax.jit(lambda *given: (sparse(*given), dense(*given)))(state, x, base)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    whole, their_whole, without = jax.jit(lambda x: (ours(x), theirs(x), ours(x, blocks)))(x)
    np.testing.assert_allclose(whole, their_whole, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(without, np.where(inside, whole, 0), rtol=1e-5, atol=1e-5)


def test_dtype_is_that_of_the_computation(rng):
    layer = nn.BlockConv(2, 3, (3,), dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x = jnp.asarray(normal(rng, 1, 9, 2))
    blocks = block.reduce_mask(jnp.ones((1, 9)), layer.geometry((9,), 5))
    y = layer(x, blocks, jnp.ones((1, 9, 3)))
    assert y.dtype == layer(x).dtype == jnp.bfloat16 and layer.kernel.dtype == jnp.float32
    plain = nn.BlockConv(2, 3, (3,), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(y.astype(jnp.float32), plain(x, blocks), atol=3e-2)


def test_a_layer_may_be_static_and_mapped(rng):
    layer = nn.BlockConv(2, 3, (3, 3), strides=[1, 1], padding=[(1, 1), (1, 1)], rngs=nnx.Rngs(0))
    geometry = layer.geometry((7, 8), 5)
    x, mask = normal(rng, 3, 2, 7, 8, 2), rng.random((3, 2, 7, 8)) < 0.1

    def infer(x, mask):
        return layer(x, block.reduce_mask(mask, geometry))

    mapped = jax.jit(jax.vmap(infer))(x, mask)
    for i in range(3):
        np.testing.assert_allclose(mapped[i], infer(x[i], mask[i]), rtol=1e-5, atol=1e-6)
    again = nnx.jit(lambda layer, x, mask: layer(x, block.reduce_mask(mask, geometry)))
    np.testing.assert_allclose(again(layer, x[0], mask[0]), mapped[0], rtol=1e-5, atol=1e-6)
