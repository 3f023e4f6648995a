"""Dropout: entries are dropped as nnx.Dropout drops numbers, with its streams and switches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, nn
from tests.direct.common import entries, tensor

pytestmark = pytest.mark.core


@pytest.fixture
def x():
    return tensor(entries((400,), [[range(300)]], capacity=350))


def test_it_is_the_function_with_the_streams_key(x):
    layer = nn.Dropout(0.4, rngs=nnx.Rngs(dropout=7))
    key = nnx.Rngs(dropout=7)["dropout"].fork()()
    np.testing.assert_array_equal(layer(x).values, direct.dropout(x, 0.4, key).values)
    given = layer(x, rngs=key)
    np.testing.assert_array_equal(given.values, direct.dropout(x, 0.4, key).values)
    np.testing.assert_array_equal(given.keys, x.keys)


def test_every_call_draws_anew_and_eval_drops_nothing(x):
    layer = nn.Dropout(0.4, rngs=nnx.Rngs(0))
    apply = nnx.jit(lambda layer, x: layer(x))
    first, second = (np.asarray(apply(layer, x).values) for _ in range(2))
    assert (first != second).any()
    layer.eval()
    assert layer(x) is x
    assert (layer(x, deterministic=False).values != x.values).any()
    layer.train()
    assert layer(x, deterministic=True) is x
    assert nnx.view(layer, deterministic=True).deterministic
    assert nn.Dropout(0.0)(x) is x
    assert not nn.Dropout(1.0, rngs=nnx.Rngs(0))(x).values.any()


def test_rngs_with_the_call(x):
    layer = nn.Dropout(0.4)
    one, same = (layer(x, rngs=nnx.Rngs(dropout=3)) for _ in range(2))
    np.testing.assert_array_equal(one.values, same.values)
    stream = nnx.Rngs(dropout=3)["dropout"]
    np.testing.assert_array_equal(layer(x, rngs=stream).values, one.values)


def test_arrays_are_handed_on():
    dense = jnp.ones((3, 4))
    ours, theirs = (kind(0.4, rngs=nnx.Rngs(0)) for kind in (nn.Dropout, nnx.Dropout))
    np.testing.assert_array_equal(ours(dense), theirs(dense))


def test_gradient_of_a_model_with_dropout_and_batch_norm(x):
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.norm = nn.BatchNorm(1, rngs=rngs)
            self.drop = nn.Dropout(0.5, rngs=rngs)

        def __call__(self, x):
            return nn.global_avg_pool(nn.leaky_relu(self.drop(self.norm(x))))

    model = Model(nnx.Rngs(0))
    traces = []

    @nnx.jit
    def step(model, x):
        traces.append(1)
        grads = nnx.grad(lambda model: jnp.sum(model(x) ** 2))(model)
        nnx.update(model, jax.tree.map(lambda p, g: p - g, nnx.state(model, nnx.Param), grads))

    for _ in range(2):
        step(model, x)
    assert len(traces) == 1
    assert (model.norm.bias[...] != 0).all() and (model.norm.mean[...] != 0).all()
    model.eval()
    assert model.drop.deterministic and model.norm.use_running_average


@pytest.mark.parametrize(
    ("layer", "call", "error", "text"),
    [
        (nn.Dropout(0.5), {}, ValueError, "Dropout: rngs must be nnx.Rngs"),
        (nn.Dropout(0.5), {"rngs": 3}, TypeError, "Dropout: rngs must be nnx.Rngs"),
        (nn.Dropout(0.5, deterministic=None), {}, ValueError, "Dropout: deterministic must be"),
        (nn.Dropout(0.5, broadcast_dims=(0,)), {}, ValueError, "Dropout: broadcast_dims must be"),
        (nn.Dropout(1.5, rngs=nnx.Rngs(0)), {}, ValueError, "dropout: rate must be finite and at"),
    ],
)
def test_bad_arguments(x, layer, call, error, text):
    with pytest.raises(error, match=text):
        layer(x, **call)
