"""BatchNorm: nnx.BatchNorm where everything is stored; its statistics; its state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, nn
from tests import oracle_kit
from tests.direct.common import entries, plain, random_input, tensor

pytestmark = pytest.mark.core
from_dense = direct.SparseTensor.from_dense


@nnx.jit
def apply(layer, x):
    return layer(x)


def test_equals_nnx_batch_norm_where_everything_is_stored(rng):
    options = {"momentum": 0.8, "epsilon": 1e-3, "use_fast_variance": False}
    sparse, dense = (kind(3, **options, rngs=nnx.Rngs(0)) for kind in (nn.BatchNorm, nnx.BatchNorm))
    for layer in (sparse, dense):
        layer.scale[...], layer.bias[...] = jnp.array([2.0, 1.0, 0.5]), jnp.array([0.0, 1.0, -1.0])
    for _ in range(3):
        x = jnp.asarray(rng.normal(2, 3, (4, 5, 6, 3)), jnp.float32)
        y = apply(sparse, from_dense(x)).to_dense()
        np.testing.assert_allclose(y, apply(dense, x), rtol=1e-4, atol=1e-5)
    for name in ("mean", "var"):
        ours, theirs = getattr(sparse, name)[...], getattr(dense, name)[...]
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    for layer in (sparse, dense):
        layer.eval()
    y = apply(sparse, from_dense(x)).to_dense()
    np.testing.assert_allclose(y, apply(dense, x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sparse(x), dense(x), rtol=1e-4, atol=1e-5)  # arrays are handed on


def test_gradients_flow_through_the_statistics(rng):
    layer = nn.BatchNorm(3, rngs=nnx.Rngs(0))
    x = random_input(rng, 3, (5, 6), 3, 0.5)
    g = rng.normal(size=x.values.shape).astype(np.float32)

    @nnx.jit
    def gradients(layer, x):
        def loss(layer, values):
            return jnp.sum(layer(x.replace(values=values)).values * g)

        return nnx.grad(loss, argnums=(0, 1))(layer, x.values)

    of_layer, gx = gradients(layer, tensor(x))
    expected = oracle_kit.batch_norm_gradients(x, np.ones(3), g, 1e-5)
    np.testing.assert_allclose(gx, expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(of_layer["scale"][...], expected[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_layer["bias"][...], expected[2], rtol=1e-4, atol=1e-4)
    assert np.all(np.asarray(layer.mean[...]) != 0)  # updated once, inside the gradient


def test_a_channel_without_an_entry_keeps_its_running_statistics():
    layer = nn.BatchNorm(2, momentum=0.5, rngs=nnx.Rngs(0))
    layer.mean[...], layer.var[...] = jnp.array([4.0, 4.0]), jnp.array([9.0, 9.0])
    x = entries((9,), [[[2, 7], []]], [[[1, 3], []]])
    y = apply(layer, tensor(x))
    np.testing.assert_array_equal(layer.mean[...], [3, 4])
    np.testing.assert_array_equal(layer.var[...], [5, 9])
    np.testing.assert_allclose(y.values, [[[-1, 1], [0, 0]]], atol=1e-4)
    apply(layer, jax.tree.map(lambda a: a[:0], tensor(x)))  # an empty batch tells nothing
    np.testing.assert_array_equal(layer.mean[...], [3, 4])


def test_state_kinds_and_parameters_are_those_of_nnx():
    ours, theirs = (kind(4, rngs=nnx.Rngs(0)) for kind in (nn.BatchNorm, nnx.BatchNorm))
    states = [nnx.to_pure_dict(nnx.state(layer)) for layer in (ours, theirs)]
    jax.tree.map(np.testing.assert_array_equal, *states)
    assert set(nnx.state(ours, nnx.BatchStat)) == {"mean", "var"}
    bare = nn.BatchNorm(4, use_bias=False, use_scale=False, rngs=nnx.Rngs(0))
    assert not nnx.state(bare, nnx.Param)
    x = from_dense(jnp.arange(1.0, 9.0).reshape(1, 2, 4))
    np.testing.assert_allclose(bare(x).values[0, 0], [-1, 1], rtol=1e-5)


def test_eval_writes_nothing_and_the_call_takes_precedence(rng):
    layer = nn.BatchNorm(2, rngs=nnx.Rngs(0))
    x = tensor(random_input(rng, 2, (6,), 2, 0.6))
    layer.eval()
    np.testing.assert_allclose(
        jax.jit(lambda x: layer(x).values)(x), x.values / np.sqrt(1 + 1e-5), rtol=1e-6
    )
    assert not layer.mean[...].any()
    layer(x, use_running_average=False)
    assert layer.mean[...].all()
    layer.train()
    before = np.asarray(layer.mean[...])
    layer(x, True)
    np.testing.assert_array_equal(layer.mean[...], before)
    assert nnx.view(layer, use_running_average=True).use_running_average


def test_dtype_and_bits_of_running_statistics(rng):
    x = tensor(random_input(rng, 2, (40,), 2, 0.6))
    half = x.replace(values=x.values.astype(jnp.bfloat16))
    layer = nn.BatchNorm(2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert layer(half).dtype == jnp.bfloat16
    assert layer.mean[...].dtype == jnp.float32
    mean, _, _ = oracle_kit.batch_statistics(plain(half))
    np.testing.assert_allclose(layer.mean[...], 0.01 * mean, rtol=1e-5)  # not rounded to bfloat16


@pytest.mark.parametrize(
    ("options", "call", "text"),
    [
        ({}, {"mask": jnp.ones(3, bool)}, "BatchNorm: mask must be None"),
        ({"axis": 1}, {}, "BatchNorm: axis must be -1"),
        ({"num_features": 5}, {}, "BatchNorm: the number of channels must be 5"),
        ({"use_running_average": None}, {}, "BatchNorm: use_running_average must be given"),
    ],
)
def test_bad_arguments(options, call, text):
    layer = nn.BatchNorm(**({"num_features": 2} | options), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=text):
        layer(tensor(entries((4,), [[[0], [1]]])), **call)
