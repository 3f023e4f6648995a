"""straight_through_mask: hard forward, the identity backward; and that a mask network learns through it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxsparse import block, nn

pytestmark = pytest.mark.core


def test_forward_and_gradient():
    scores = jnp.array([0.5, 0.6, -jnp.inf, jnp.inf, jnp.nan, 0.0])
    np.testing.assert_array_equal(nn.straight_through_mask(scores), [0, 1, 0, 1, np.nan, 0])
    assert nn.straight_through_mask(scores, -1).tolist()[-1] == 1
    weights = jnp.arange(6.0)

    def loss(s):
        return jnp.sum(nn.straight_through_mask(jax.nn.sigmoid(s)) * weights)

    s = jnp.linspace(-2, 2, 6)
    p = jax.nn.sigmoid(s)
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(s), weights * p * (1 - p), rtol=1e-6)
    _, tangent = jax.jvp(nn.straight_through_mask, (s,), (weights,))
    np.testing.assert_array_equal(tangent, weights)
    with jax.numpy_dtype_promotion("standard"):
        assert nn.straight_through_mask(s.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_the_product_is_the_same_dense_and_sparse(rng):
    layer = nn.BlockConv(2, 3, (3, 3), rngs=nnx.Rngs(0))
    x = jnp.asarray(rng.normal(size=(2, 12, 13, 2)), jnp.float32)
    mask = nn.straight_through_mask(jnp.asarray(rng.random((2, 12, 13)) ** 3, jnp.float32), 0.8)
    blocks = block.reduce_mask(mask, layer.geometry((12, 13), 6))
    assert int(blocks.count) < blocks.capacity
    sparse, dense = (layer(x, b) * mask[..., None] for b in (blocks, None))
    np.testing.assert_allclose(sparse, dense, rtol=1e-5, atol=1e-6)


def test_a_mask_network_learns(rng):
    """Pixels that matter are told by the first channel; the loss sees only what the masked block network makes of them."""
    x = jnp.asarray(rng.normal(size=(4, 16, 16, 2)), jnp.float32)
    matters = np.zeros((4, 16, 16), bool)
    for b in range(4):
        i, j = rng.integers(0, 9, 2)
        matters[b, i : i + 7, j : j + 7] = True
    x = x.at[..., 0].set(jnp.where(matters, 1.0, -1.0) + 0.1 * x[..., 0])
    unit = nn.BlockConv(2, 2, (3, 3), rngs=nnx.Rngs(0))
    geometry = unit.geometry((16, 16), 6)
    target = jnp.where(matters[..., None], unit(x), 0)
    mask_network = nn.BlockConv(2, 1, (1, 1), rngs=nnx.Rngs(1))
    # All on at first: where nothing is active nothing is learnt.
    mask_network.kernel[...] = jnp.zeros((1, 1, 2, 1))
    mask_network.bias[...] = jnp.array([1.0])
    graph, state = nnx.split(mask_network)
    optimizer = optax.adam(0.1)

    def forward(state):
        scores = jax.nn.sigmoid(nnx.merge(graph, state)(x)[..., 0])
        mask = nn.straight_through_mask(scores)
        blocks = block.reduce_mask(mask, geometry)
        loss = jnp.mean((unit(x, blocks) * mask[..., None] - target) ** 2)
        return loss, (mask, blocks.count)

    @jax.jit
    def train(state):
        def step(carry, _):
            state, memory = carry
            (loss, _), gradient = jax.value_and_grad(forward, has_aux=True)(state)
            updates, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(state, updates), memory), loss

        return jax.lax.scan(step, (state, optimizer.init(state)), None, length=60)

    (_, (mask, count)) = forward(state)
    before = np.mean(np.asarray(mask) == matters)
    with jax.numpy_dtype_promotion("standard"):  # Optax
        (state, _), losses = train(state)
    _, (mask, fewer) = forward(state)
    assert before < 0.8 and np.mean(np.asarray(mask) == matters) > 0.99
    assert losses[-1] < 0.05 * losses[0] and fewer < count
