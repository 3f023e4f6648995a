"""Whole programs of pooling, unpooling, sums, concatenation: derivatives, devices, export."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxsparse import direct
from tests.direct.jax_rules import (
    IN,
    SPATIAL,
    assert_trees_close,
    assert_trees_equal,
    direction_of,
    image,
    kit,
    normal,
    slope_along,
    sparse,
)
from tests.direct.jax_rules import parameters as all_parameters
from tests.direct.test_jax_rules_export import exported
from tests.direct.test_sharding import (
    BATCH,
    arguments,
    assert_no_collective,
    assert_one_all_reduce_each,
    compiled,
)

pytestmark = pytest.mark.core
NAMES = ("kernel1", "bias1")


def parameters(dtype=np.float32):
    return {name: all_parameters(dtype)[name] for name in NAMES}


def loss(params, x):
    return jnp.mean(jnp.sin(kit(params, x)))


gradient = jax.grad(loss)
SHAPES = [p.shape for p in jax.tree.leaves(parameters())]


@pytest.fixture(scope="module")
def single():
    return jax.jit(
        lambda: (kit(parameters(), image(BATCH)), gradient(parameters(), image(BATCH)))
    )()


def test_second_derivatives():
    # Selection and maxima are constant near a point: finite differences of the gradient are the second derivative.
    with jax.enable_x64(True):
        params, x = parameters(np.float64), image(dtype=np.float64)
        direction = direction_of(params)

        def along(params):
            products = jax.tree.map(jnp.vdot, gradient(params, x), direction)
            return sum(jax.tree.leaves(products))

        jitted = jax.jit(gradient)
        expected = slope_along(lambda p: jitted(p, x), params, direction)
        assert_trees_close(jax.jit(jax.grad(along))(params), expected, rtol=1e-5, atol=1e-8)


def test_scan_and_checkpoint():
    params, xs = parameters(), jnp.stack([image(seed=s) for s in range(3)])

    def scanned(params):
        step = jax.checkpoint(lambda total, x: total + loss(params, x))
        return jax.lax.scan(lambda total, x: (step(total, x), None), 0.0, xs)[0]

    def unrolled(params):
        return sum(loss(params, x) for x in xs)

    actual, expected = (jax.jit(jax.value_and_grad(f))(params) for f in (scanned, unrolled))
    assert_trees_close(actual, expected)


def both(params, x):
    return kit(params, x), gradient(params, x)


def test_automatic_partitioning(single):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    params, x = arguments(mesh, P("data"))
    params = {name: params[name] for name in NAMES}
    y, found = compiled(kit, params, x)
    assert_no_collective(found)
    assert_trees_equal(y, single[0])
    gradients, found = compiled(gradient, params, x)
    assert_one_all_reduce_each(found, SHAPES)
    assert_trees_close(gradients, single[1])


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map(check_vma, single):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    params, x = arguments(mesh, P("data"))
    params = {name: params[name] for name in NAMES}
    f = jax.shard_map(
        kit, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), check_vma=check_vma
    )
    y, found = compiled(f, params, x)
    assert_no_collective(found)
    assert_trees_equal(y, single[0])
    gradients, found = compiled(jax.grad(lambda p, x: jnp.mean(jnp.sin(f(p, x)))), params, x)
    assert_one_all_reduce_each(found, SHAPES)
    assert_trees_close(gradients, single[1])


def test_explicit_mesh(single):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params, x = arguments(mesh, P("data"))
        params = {name: params[name] for name in NAMES}
        y, found = compiled(kit, params, x)
        assert_no_collective(found)
        assert jax.typeof(y).sharding.spec[0] == "data"
        assert_trees_equal(np.asarray(y), single[0])
        gradients, found = compiled(gradient, params, x)
        assert_one_all_reduce_each(found, SHAPES)
        assert_trees_close(jax.device_get(gradients), single[1])


def test_export_with_a_symbolic_batch():
    params = parameters()
    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *SPATIAL, IN), jnp.float32)
    again = exported(both, params, shape, platforms=("cpu", "cuda"))
    x = image(3)
    y, gradients = again.call(params, x)
    assert_trees_equal(y, kit(params, x))
    assert_trees_close(gradients, gradient(params, x))


def test_export_of_batch_norm_and_dropout_with_a_symbolic_batch():
    def f(scale, x):
        y = direct.batch_norm(sparse(x), scale)
        return direct.dropout(y, 0.5, jax.random.key(1)).to_dense()

    (batch,) = export.symbolic_shape("batch")
    shape = jax.ShapeDtypeStruct((batch, *SPATIAL, IN), jnp.float32)
    scale, x = normal(IN), image(3)
    assert_trees_close(exported(f, scale, shape).call(scale, x), f(scale, x))


def test_empty_batch():
    y = kit(parameters(), jnp.zeros((0, *SPATIAL, IN)))
    assert y.shape == (0, 3, 3, 8)
    gradients = gradient(parameters(), jnp.zeros((0, *SPATIAL, IN)))
    assert not any(np.nan_to_num(g).any() for g in jax.tree.leaves(gradients))
    x = sparse(jnp.zeros((0, *SPATIAL, IN)))
    assert direct.batch_norm(x).keys.shape == direct.dropout(x, 0.5, jax.random.key(0)).keys.shape
