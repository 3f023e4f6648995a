"""`direct.leaky_relu` and `direct.dropout`: the values change, the entries stay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsparse import direct
from jaxsparse.direct._scaling import masked_scale
from tests import oracle_kit
from tests.direct.common import (
    DTYPES,
    F32,
    assert_equal,
    assert_same,
    entries,
    random_input,
    tensor,
    with_gradients,
)
from tests.direct.grid import number, parameters, tensor_of
from tests.direct.test_relu import GRID


@pytest.mark.parametrize("case", parameters(GRID))
def test_leaky_relu_and_masked_values_equal_the_oracle(case, rng):
    x = tensor_of(case, rng)
    g = number(rng, x.values.shape, "integers", case["dtype"])
    slope, factors, kept = 0.3, (1 / 0.6, 0.0), rng.random(x.values.shape) < 0.6

    def both(x):
        y = direct.leaky_relu(x, slope)
        return y.replace(values=masked_scale(y.volume, factors, y.keys, y.values, kept))

    up = oracle_kit.not_negative(x.values)
    leaky = x._replace(values=oracle_kit.masked_scale(x, up, (1, slope)))
    y, gx = with_gradients(both, x, g=g)
    assert_same(y, leaky._replace(values=oracle_kit.masked_scale(leaky, kept, factors)))
    back = oracle_kit.masked_scale(x, kept, factors, g)
    assert_equal(gx, oracle_kit.masked_scale(x, up, (1, slope), back))


# ---- leaky_relu ----------------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_leaky_relu_of_special_values():
    values = [0.0, -0.0, 3e-45, -3e-45, np.nan, -np.nan, np.inf, -np.inf, -8]
    x = entries((12,), [[range(9)]], [[values]], capacity=10)
    y, gx = with_gradients(lambda x: direct.leaky_relu(x, 0.5), x, g=np.ones(x.values.shape, F32))
    halved = [0, 0, 3e-45, -1e-45, np.nan, np.nan, np.inf, -np.inf, -4]
    assert_same(y, entries((12,), [[range(9)]], [[halved]], capacity=10))
    np.testing.assert_array_equal(gx, [[[1, 1, 1, 0.5, 1, 1, 1, 0.5, 0.5, 0]]])


@pytest.mark.core
@pytest.mark.parametrize("slope", [0.01, 0.0, -0.5, 2, np.float32(0.25), np.array(1.5)])
def test_leaky_relu_is_that_of_jax(slope, rng):
    dense = jnp.asarray(rng.integers(-3, 4, (2, 5, 3)), jnp.float32)
    x = direct.SparseTensor.from_dense(dense)
    y = direct.leaky_relu(x, slope)
    np.testing.assert_array_equal(y.to_dense(), jax.nn.leaky_relu(dense, float(slope)))
    np.testing.assert_array_equal(y.keys, x.keys)
    np.testing.assert_array_equal(y.nnz, x.nnz)
    ours = jax.grad(lambda v: direct.leaky_relu(x.replace(values=v), slope).values.sum())(x.values)
    theirs = jax.grad(lambda v: jax.nn.leaky_relu(v, float(slope)).sum())(x.values)
    np.testing.assert_array_equal(ours, np.where(x.keys < x.volume, theirs, 0))


def test_leaky_relu_of_minus_infinity_with_slope_zero_is_zero():
    x = tensor(entries((3,), [[[0, 1]]], [[[-np.inf, np.nan]]]))
    np.testing.assert_array_equal(direct.leaky_relu(x, 0).values, [[[0, np.nan]]])


# ---- dropout -------------------------------------------------------------------------------------------------------------


@pytest.mark.core
def test_dropout_keeps_keys_and_zeroes_values_whatever_they_are():
    x = entries((400,), [[range(300)]], [[[np.nan, np.inf, -2.0] * 100]], capacity=350)
    g = np.ones((1, 1, 350), F32)
    y, gx = with_gradients(lambda x: direct.dropout(x, 0.75, jax.random.key(1)), x, g=g)
    np.testing.assert_array_equal(y.keys, x.keys)
    np.testing.assert_array_equal(y.nnz, x.nnz)
    kept = np.asarray(gx)[0, 0] != 0
    assert set(np.asarray(gx).ravel()) == {0, 4} and not kept[300:].any()
    np.testing.assert_array_equal(y.values[0, 0], np.where(kept, x.values[0, 0] * 4, 0))
    assert 45 < kept.sum() < 105  # 75 expected, standard deviation 7.5


@pytest.mark.core
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dropout_drops_the_same_entries_of_every_dtype(dtype):
    x = entries((8,), [[range(8)] * 2], capacity=9, dtype=dtype)
    kept = np.asarray(jax.random.bernoulli(jax.random.key(3), np.float32(0.6), (1, 2, 9)))
    y, _ = with_gradients(lambda x: direct.dropout(x, 0.4, jax.random.key(3)), x, g=x.values)
    expected = oracle_kit.masked_scale(x, kept, (1 / 0.6, 0))
    assert_same(y, x._replace(values=expected))


@pytest.mark.core
def test_dropout_at_the_ends_and_with_old_keys():
    x = tensor(entries((9,), [[range(5)]], capacity=7))
    key = jax.random.key(0)
    assert direct.dropout(x, 0, key) is x
    y = direct.dropout(x, 1.0, key)
    assert not y.values.any() and y.nnz.tolist() == [[5]]
    gradient = jax.grad(lambda v: direct.dropout(x.replace(values=v), 1, key).values.sum())
    assert not gradient(x.values).any()
    old = direct.dropout(x, 0.5, jax.random.PRNGKey(0))
    np.testing.assert_array_equal(old.values, direct.dropout(x, 0.5, key).values)


def test_each_slot_of_each_channel_is_drawn_by_itself():
    x = tensor(entries((64,), [[range(64)] * 3] * 2, capacity=64))
    kept = np.asarray(direct.dropout(x, 0.5, jax.random.key(5)).values) != 0
    assert len({row.tobytes() for row in kept.reshape(6, 64)}) == 6


@pytest.mark.core
def test_dropout_of_a_sharded_batch_drops_the_same_and_moves_nothing(rng):
    x = tensor(random_input(rng, 8, (6, 5), 3, 0.4, capacity=20))

    def loss_and_values(x, key):
        def of(values):
            y = direct.dropout(x.replace(values=values), 0.3, key).values
            return jnp.sum(y**2), y

        return jax.grad(of, has_aux=True)(x.values)

    expected = jax.jit(loss_and_values)(x, jax.random.key(2))
    for kind in ("Auto", "Explicit"):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(getattr(jax.sharding.AxisType, kind),))
        with jax.set_mesh(mesh):
            split = jax.device_put(x, NamedSharding(mesh, P("data")))
            key = jax.device_put(jax.random.key(2), NamedSharding(mesh, P()))
            program = jax.jit(loss_and_values).lower(split, key).compile()
            found = program(split, key)
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), jax.device_get(expected))
        text = program.as_text()
        assert "all-reduce" not in text and "all-gather" not in text
