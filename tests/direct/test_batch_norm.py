"""`direct.batch_norm` and `direct.batch_statistics`: over the stored entries of a channel, whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsparse import direct
from tests import oracle_kit
from tests.direct.common import F32, F64, entries, precision, random_input, tensor
from tests.direct.grid import parameters, tensor_of
from tests.direct.test_relu import GRID

EPSILON = 0.5


@jax.jit
def train(x, scale, bias, g):
    """Result, statistics, and cotangents of values, scale and bias for cotangents `g`."""

    def of(values, scale, bias):
        y = direct.batch_norm(x.replace(values=values), scale, bias, epsilon=EPSILON)
        return y.values, y

    _, vjp, y = jax.vjp(of, x.values, scale, bias, has_aux=True)
    return y, direct.batch_statistics(x), vjp(g)


def operands(rng, x):
    channels = x.nnz.shape[1]
    scale, bias = rng.normal(size=channels), rng.normal(size=channels)
    g = rng.normal(size=x.values.shape)
    wide = oracle_kit.accumulator(x.values.dtype)
    return scale.astype(wide), bias.astype(wide), g.astype(x.values.dtype)


def tolerance(dtype):
    """Of results in this dtype: a few units in the last place of numbers around 1."""
    return {"float64": 1e-12, "float32": 3e-6, "bfloat16": 2e-2, "float16": 3e-3}[str(dtype)]


def close(actual, expected, dtype, size=1.0):
    assert np.asarray(actual).dtype == dtype
    actual = np.asarray(actual).astype(np.float64)
    limit = tolerance(dtype)
    np.testing.assert_allclose(actual, expected, rtol=limit, atol=limit * size)


@pytest.mark.parametrize("case", parameters(GRID))
def test_batch_norm_equals_the_oracle(case, rng):
    x = tensor_of(case, rng)
    dtype, wide = x.values.dtype, np.dtype(oracle_kit.accumulator(x.values.dtype))
    scale, bias, g = operands(rng, x)
    with precision(dtype):
        y, found, (gx, gs, gb) = train(tensor(x), *map(jax.device_put, (scale, bias, g)))
    mean, var, count = oracle_kit.batch_statistics(x)
    close(found.mean, mean, wide)
    close(found.var, var, wide)
    close(found.entries, count, wide)
    np.testing.assert_array_equal(y.keys, x.keys)
    np.testing.assert_array_equal(y.nnz, x.nnz)
    close(y.values, oracle_kit.batch_norm(x, scale, bias, mean, var, EPSILON), dtype)
    if case["values"] != "non-finite":
        size = max(1, x.keys.shape[-1] * len(x.keys)) ** 0.5
        expected = oracle_kit.batch_norm_gradients(x, scale, g, EPSILON)
        close(gx, expected[0], dtype)
        close(gs, expected[1], wide, size)
        close(gb, expected[2], wide, size)


@pytest.mark.core
def test_nan_and_inf_pass_through_within_their_channel():
    x = entries((4,), [[[0, 1], [0, 1], [2, 3]]], [[[1, np.nan], [np.inf, 2], [-1, 1]]])
    y = np.asarray(direct.batch_norm(tensor(x), epsilon=0).values)
    assert np.isnan(y[0, :2]).all()
    np.testing.assert_array_equal(y[0, 2], [-1, 1])


@pytest.mark.core
def test_stored_zeros_count_and_unstored_voxels_do_not():
    x = entries((9,), [[[0, 4, 8], [1]], [[2], []]], [[[0, 6, 0], [5]], [[2], []]], capacity=4)
    found = direct.batch_statistics(tensor(x))
    np.testing.assert_array_equal(found.mean, [2, 5])
    np.testing.assert_array_equal(found.var, [(4 + 16 + 4 + 0) / 4, 0])
    np.testing.assert_array_equal(found.entries, [4, 1])
    y = direct.batch_norm(tensor(x), bias=jnp.array([0.0, 3.0]))
    assert y.nnz.tolist() == [[3, 1], [1, 0]]
    np.testing.assert_array_equal(y.values[0, 1], [3, 0, 0, 0])


@pytest.mark.core
def test_a_channel_without_entries_has_zeros_and_no_nan_in_any_gradient():
    x = entries((9,), [[[], [1, 2]]], capacity=3)
    scale, bias, g = jnp.ones(2), jnp.ones(2), jnp.ones((1, 2, 3))
    y, found, gradients = train(tensor(x), scale, bias, g)
    assert [float(v[0]) for v in found] == [0, 0, 0]
    for leaf in jax.tree.leaves((y.values, gradients)):
        assert np.isfinite(leaf).all()
    assert not gradients[0][0, 0].any() and not y.values[0, 0].any()


@pytest.mark.core
def test_given_statistics_are_used_and_get_gradients(rng):
    x = random_input(rng, 2, (5, 4), 3, 0.5, F64)
    scale, bias, g = operands(rng, x)
    mean, var = rng.normal(size=3), rng.random(3) + 0.5
    with precision(F64):
        operands_ = tuple(map(jax.device_put, (x.values, scale, bias, mean, var)))

        def of(values, scale, bias, mean, var):
            y = tensor(x).replace(values=values)
            return direct.batch_norm(y, scale, bias, mean=mean, var=var, epsilon=EPSILON).values

        y, vjp = jax.vjp(of, *operands_)
        expected = oracle_kit.batch_norm(x, scale, bias, mean, var, EPSILON)
        np.testing.assert_allclose(y, expected, rtol=1e-12)

        def dense(values, scale, bias, mean, var):
            mean, var, scale, bias = (v[None, :, None] for v in (mean, var, scale, bias))
            y = (values - mean) / jnp.sqrt(var + EPSILON) * scale + bias
            return jnp.where(x.keys < x.volume, y, 0)

        for ours, theirs in zip(
            vjp(jax.device_put(g)), jax.vjp(dense, *operands_)[1](jax.device_put(g)), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


@pytest.mark.core
def test_second_derivatives_are_those_of_plain_jax(rng):
    x = random_input(rng, 3, (4, 5), 2, 0.5, F64)
    scale, bias, _ = operands(rng, x)
    there = x.keys < x.volume

    def plain(values, scale, bias):
        n = there.sum((0, 2)).astype(F64)
        mean = jnp.where(there, values, 0).sum((0, 2)) / n
        centred = jnp.where(there, values - mean[None, :, None], 0)
        var = (centred**2).sum((0, 2)) / n
        y = centred / jnp.sqrt(var + EPSILON)[None, :, None] * scale[None, :, None]
        return jnp.where(there, y + bias[None, :, None], 0)

    with precision(F64):
        t = tensor(x)

        def ours(values, scale, bias):
            return direct.batch_norm(t.replace(values=values), scale, bias, epsilon=EPSILON).values

        def derivatives(f):
            def first(*a):
                return jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a)) ** 2), (0, 1, 2))(*a)

            def second(*a):
                return jax.grad(lambda *a: sum(jnp.sum(g**3) for g in first(*a)), (0, 1, 2))(*a)

            return jax.jit(lambda *a: (first(*a), second(*a)))(t.values, scale, bias)

        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8),
            derivatives(ours),
            derivatives(plain),
        )


def test_the_variance_of_a_large_mean_is_not_lost(rng):
    """One pass over squares would leave nothing of it in float32."""
    x = random_input(rng, 2, (50, 50), 1, 0.9)
    x = x._replace(values=np.where(x.keys < x.volume, x.values + 4096, 0).astype(F32))
    _, var, _ = oracle_kit.batch_statistics(x)
    np.testing.assert_allclose(direct.batch_statistics(tensor(x)).var, var, rtol=1e-5)


# ---- Devices -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def batch(rng):
    x = random_input(rng, 8, (6, 5), 3, 0.4, capacity=20)
    scale, bias, g = operands(rng, x)
    return tensor(x), jax.device_put(scale), jax.device_put(bias), jax.device_put(g)


def mesh_of(kind):
    return jax.make_mesh((8,), ("data",), axis_types=(kind,))


def assert_close(actual, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), actual, expected
    )


@pytest.mark.core
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_a_batch_over_devices_has_the_statistics_of_all(batch, kind):
    expected = train(*batch)
    mesh = mesh_of(getattr(jax.sharding.AxisType, kind))
    split, whole = NamedSharding(mesh, P("data")), NamedSharding(mesh, P())
    with jax.set_mesh(mesh):
        x, g = jax.device_put((batch[0], batch[3]), split)
        scale, bias = jax.device_put(batch[1:3], whole)
        actual = train(x, scale, bias, g)
        assert actual[0].values.sharding.is_equivalent_to(split, 3)
    assert_close(jax.device_get(actual), jax.device_get(expected))


@pytest.mark.core
@pytest.mark.parametrize("check_vma", [True, False])
def test_axis_name_inside_shard_map(batch, check_vma):
    x, scale, bias, g = batch

    expected = train(*batch)

    def on_device(x, scale, bias):
        statistics = direct.batch_statistics(x, axis_name="data")
        y = direct.batch_norm(x, scale, bias, epsilon=EPSILON, axis_name="data")
        return y, statistics

    def sharded(x, scale, bias):
        return jax.shard_map(
            on_device,
            mesh=mesh_of(jax.sharding.AxisType.Auto),
            in_specs=(P("data"), P(), P()),
            out_specs=(P("data"), P()),
            check_vma=check_vma,
        )(x, scale, bias)

    def of(values, scale, bias):
        y, statistics = sharded(x.replace(values=values), scale, bias)
        return y.values, (y, statistics)

    def run(values, scale, bias, g):
        _, vjp, (y, statistics) = jax.vjp(of, values, scale, bias, has_aux=True)
        return y, statistics, vjp(g)

    assert_close(jax.jit(run)(x.values, scale, bias, g), expected)


@pytest.mark.core
def test_without_an_axis_name_each_device_has_its_own(batch):
    x, *_ = batch
    mapped = jax.shard_map(
        direct.batch_statistics,
        mesh=mesh_of(jax.sharding.AxisType.Auto),
        in_specs=P("data"),
        out_specs=P("data"),
    )(x)
    mean, _, _ = oracle_kit.batch_statistics(
        jax.tree.map(np.asarray, oracle_kit.Sparse(x.keys[3:4], x.values[3:4], x.nnz[3:4], (6, 5)))
    )
    np.testing.assert_allclose(mapped.mean[9:12], mean, rtol=1e-6)
