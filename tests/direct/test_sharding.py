"""Several devices: automatic partitioning, shard_map, explicit meshes.

Eight virtual devices. Collectives are counted in the optimised HLO: none forward; backward one all-reduce for each
gradient of what the devices share, and nothing else.
"""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxsparse import direct
from tests.direct.jax_rules import (
    IN,
    OUT,
    assert_trees_close,
    assert_trees_equal,
    image,
    loss,
    network,
    normal,
    parameters,
    sparse,
)

pytestmark = pytest.mark.core

BATCH = 16
COLLECTIVE = re.compile(
    r" = (?P<types>.*?) (?P<kind>all-reduce|all-gather|all-to-all|collective-permute"
    r"|collective-broadcast|reduce-scatter)(-start)?\("
)

MESHES = {
    "8 on one axis": ((8,), ("data",), P("data")),
    "4 of 4 x 2": ((4, 2), ("data", "model"), P("data")),
    "8 over two axes": ((4, 2), ("data", "model"), P(("data", "model"))),
}


@pytest.fixture(params=MESHES, scope="module")
def mesh_and_spec(request):
    shape, names, spec = MESHES[request.param]
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names)), spec


def arguments(mesh, spec, batch=BATCH):
    params = jax.device_put(parameters(), NamedSharding(mesh, P()))
    return params, jax.device_put(image(batch), NamedSharding(mesh, spec))


def compiled(f, *args):
    """The result of `f` under jit, and its collectives: (kind, result types)."""
    executable = jax.jit(f).lower(*args).compile()
    found = [(m["kind"], m["types"]) for m in COLLECTIVE.finditer(executable.as_text())]
    return executable(*args), found


def assert_no_collective(found):
    assert found == []


def assert_one_all_reduce_each(found, shapes):
    """Every shape is the result of exactly one all-reduce (XLA may merge several into one); nothing else moves."""
    assert {kind for kind, _ in found} == {"all-reduce"}
    reduced = [
        tuple(map(int, dims.split(","))) if dims else ()
        for _, types in found
        for dims in re.findall(r"\w+\[([\d,]*)\]", types)
    ]
    for shape in shapes:
        assert reduced.count(shape) == 1, (shape, found)


def expected():
    params, x = parameters(), image(BATCH)
    return network(params, x), jax.grad(loss)(params, x)


@pytest.fixture(scope="module")
def single():
    return jax.jit(expected)()


SHAPES = [p.shape for p in jax.tree.leaves(parameters())]


# ---- Automatic partitioning ----------------------------------------------------------------------------------------------


def test_automatic_forward_needs_no_collective(mesh_and_spec, single):
    mesh, spec = mesh_and_spec
    y, found = compiled(network, *arguments(mesh, spec))
    assert_no_collective(found)
    assert y.sharding.is_equivalent_to(NamedSharding(mesh, spec), y.ndim)
    assert_trees_equal(y, single[0])


def test_automatic_backward_needs_one_all_reduce_a_weight(mesh_and_spec, single):
    mesh, spec = mesh_and_spec
    gradients, found = compiled(jax.grad(loss), *arguments(mesh, spec))
    assert_one_all_reduce_each(found, SHAPES)
    assert_trees_close(gradients, single[1])


def test_input_gradient_stays_sharded_and_has_the_same_bits(mesh_and_spec):
    mesh, spec = mesh_and_spec
    gradient = jax.grad(lambda x, params: jnp.sum(network(params, x)))
    params, x = arguments(mesh, spec)
    g, found = compiled(gradient, x, params)
    assert_no_collective(found)
    assert g.sharding.is_equivalent_to(NamedSharding(mesh, spec), g.ndim)
    assert_trees_equal(g, gradient(image(BATCH), parameters()))


def test_eager_calls_stay_sharded(mesh_and_spec, single):
    mesh, spec = mesh_and_spec
    y = network(*arguments(mesh, spec))
    assert y.sharding.is_equivalent_to(NamedSharding(mesh, spec), y.ndim)
    assert_trees_equal(y, single[0])


def test_second_derivatives_move_no_activations(mesh_and_spec):
    mesh, spec = mesh_and_spec

    def objective(params, x):
        return sum(jnp.sum(g**2) for g in jax.tree.leaves(jax.grad(loss)(params, x)))

    gradients, found = compiled(jax.grad(objective), *arguments(mesh, spec))
    assert {kind for kind, _ in found} == {"all-reduce"}
    assert_trees_close(gradients, jax.grad(objective)(parameters(), image(BATCH)))


@pytest.mark.parametrize("axis", [0, 1])
def test_vmap_of_a_sharded_batch_needs_no_collective(axis):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    x = jnp.stack([image(BATCH), image(BATCH, seed=9)], axis)
    mapped = jax.vmap(network, (None, axis), axis)
    spec = P(None, "data") if axis == 0 else P("data")
    params, _ = arguments(mesh, P("data"))
    y, found = compiled(mapped, params, jax.device_put(x, NamedSharding(mesh, spec)))
    assert_no_collective(found)
    assert_trees_equal(y, mapped(parameters(), x))


def test_scan_over_steps_needs_no_collective_forward():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    kernel = normal(3, 3, IN, IN) * 0.1

    def steps(x, kernel):
        def once(y, _):
            return direct.conv(y, kernel, capacity=12), None

        return jax.lax.scan(once, sparse(x), None, length=3)[0].to_dense()

    x = jax.device_put(image(BATCH), NamedSharding(mesh, P("data")))
    y, found = compiled(steps, x, jax.device_put(kernel, NamedSharding(mesh, P())))
    assert_no_collective(found)
    assert_trees_equal(y, steps(image(BATCH), kernel))


def test_sharded_weights_are_gathered_and_right(single):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    params, x = arguments(mesh, P("data"))
    split = NamedSharding(mesh, P(None, None, None, "model"))
    params["kernel1"] = jax.device_put(params["kernel1"], split)
    y, found = compiled(network, params, x)
    assert [kind for kind, _ in found] == ["all-gather"]
    assert_trees_equal(y, single[0])


@pytest.mark.parametrize("batch", [1, 12])
def test_a_batch_that_does_not_divide_is_right(batch):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    params, x = arguments(mesh, P("data"))
    y, _ = compiled(lambda params, x: network(params, x[:batch]), params, x)
    assert_trees_equal(y, network(parameters(), image(BATCH)[:batch]))
    gradients, _ = compiled(jax.grad(lambda params, x: loss(params, x[:batch])), params, x)
    assert_trees_close(gradients, jax.grad(loss)(parameters(), image(BATCH)[:batch]))


def test_a_sharded_spatial_axis_is_right(single):
    mesh = jax.make_mesh((5,), ("space",), axis_types=(AxisType.Auto,), devices=jax.devices()[:5])
    y, _ = compiled(network, *arguments(mesh, P(None, "space")))
    assert_trees_equal(y, single[0])


# ---- shard_map -----------------------------------------------------------------------------------------------------------


def test_shard_map_forward(mesh_and_spec, single):
    mesh, spec = mesh_and_spec
    for check in (True, False):
        f = jax.shard_map(network, mesh=mesh, in_specs=(P(), spec), out_specs=spec, check_vma=check)
        y, found = compiled(f, *arguments(mesh, spec))
        assert_no_collective(found)
        assert_trees_equal(y, single[0])


def test_gradient_of_shard_map(mesh_and_spec, single):
    mesh, spec = mesh_and_spec

    def gradient(params, x, check):
        f = jax.shard_map(network, mesh=mesh, in_specs=(P(), spec), out_specs=spec, check_vma=check)
        return jax.grad(lambda params: jnp.mean(jnp.sin(f(params, x))))(params)

    for check in (True, False):
        gradients, found = compiled(partial(gradient, check=check), *arguments(mesh, spec))
        assert_one_all_reduce_each(found, SHAPES)
        assert_trees_close(gradients, single[1])


def test_gradient_inside_shard_map_sums_over_devices(mesh_and_spec, single):
    mesh, spec = mesh_and_spec

    def gradients(params, x):
        return jax.grad(lambda params: loss(params, x) * (x.shape[0] / BATCH))(params)

    f = jax.shard_map(gradients, mesh=mesh, in_specs=(P(), spec), out_specs=P())
    g, found = compiled(f, *arguments(mesh, spec))
    assert_one_all_reduce_each(found, SHAPES)
    assert_trees_close(g, single[1])


def test_gradient_inside_shard_map_without_checks_is_local(mesh_and_spec, single):
    mesh, spec = mesh_and_spec
    axes = spec[0]

    def gradients(params, x):
        g = jax.grad(lambda params: loss(params, x) * (x.shape[0] / BATCH))(params)
        return jax.lax.psum(g, axes)

    f = jax.shard_map(gradients, mesh=mesh, in_specs=(P(), spec), out_specs=P(), check_vma=False)
    g, found = compiled(f, *arguments(mesh, spec))
    assert_one_all_reduce_each(found, SHAPES)
    assert_trees_close(g, single[1])


def test_optional_operands_in_shard_map():
    # Absent bias and mask must not become empty arrays at the border of the shard_map.
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def total(kernel, x):
        return jnp.mean(jnp.sin(direct.conv(sparse(x), kernel, density=0.5).to_dense()))

    def mean(kernel, x):
        return jax.lax.pmean(total(kernel, x), "data")

    kernel, x = normal(3, 3, IN, OUT), image(BATCH)
    f = jax.shard_map(mean, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    g, _ = compiled(jax.grad(f), kernel, x)
    assert_trees_close(g, jax.grad(total)(kernel, x))


def test_shard_map_over_one_axis_of_two(single):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    f = jax.shard_map(
        network, mesh=mesh, in_specs=(P(), P("data")), out_specs=P("data"), axis_names={"data"}
    )
    y, found = compiled(f, *arguments(mesh, P("data")))
    assert_no_collective(found)
    assert_trees_equal(y, single[0])


# ---- Explicit meshes -----------------------------------------------------------------------------------------------------


def test_explicit_mesh(single):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params, x = arguments(mesh, P("data"))
        y, found = compiled(network, params, x)
        assert_no_collective(found)
        assert jax.typeof(y).sharding.spec[0] == "data"
        assert_trees_equal(np.asarray(y), single[0])
        gradients, found = compiled(jax.grad(loss), params, x)
        assert_one_all_reduce_each(found, SHAPES)
        assert_trees_close(jax.device_get(gradients), single[1])


def test_explicit_mesh_with_a_sharded_weight(single):
    mesh = jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):
        params, x = arguments(mesh, P("data"))
        split = P(None, None, None, "model")
        params["kernel1"] = jax.device_put(params["kernel1"], NamedSharding(mesh, split))
        gradients, _ = compiled(jax.grad(loss), params, x)
        assert jax.typeof(gradients["kernel1"]).sharding.spec == split
        assert_trees_close(jax.device_get(gradients), single[1])


def test_explicit_mesh_under_vmap():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    x = jnp.stack([image(BATCH), image(BATCH, seed=9)], 1)
    mapped = jax.vmap(network, (None, 1), 1)
    expected = mapped(parameters(), x)
    with jax.set_mesh(mesh):
        params, _ = arguments(mesh, P("data"))
        y, found = compiled(mapped, params, jax.device_put(x, NamedSharding(mesh, P("data"))))
        assert_no_collective(found)
        assert_trees_equal(np.asarray(y), expected)


def points():
    coords = np.array([[0, 1, 2], [5, 3, 4], [0, 0, 0], [0, 1, 2]], np.int32)
    return coords, np.array([1, 2, 3, 4], np.float32)


@pytest.mark.parametrize("spec", [P(), P("data")], ids=str)
def test_points_on_an_explicit_mesh(spec):
    def build(coords, values, duplicates):
        x = direct.SparseTensor.from_coords(
            coords, values, batch_size=8, spatial_shape=(4, 5), duplicates=duplicates
        )
        return jnp.sum(x.values**2), x

    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Explicit,))
    for duplicates in ("sum", "max"):
        run = jax.value_and_grad(build, argnums=1, has_aux=True)
        expected = run(*points(), duplicates)
        with jax.set_mesh(mesh):
            coords, values = jax.device_put(points(), NamedSharding(mesh, spec))
            found = jax.jit(run, static_argnums=2)(coords, values, duplicates)
            assert jax.typeof(found[1]).sharding.spec == jax.typeof(values).sharding.spec
        assert_trees_equal(jax.device_get(found), expected)


def test_bcoo_on_an_explicit_mesh():
    def there_and_back(x):
        def total(values):
            b = x.replace(values=values).to_bcoo()
            again = direct.SparseTensor.from_bcoo(b, capacity=x.capacity, duplicates="sum")
            return jnp.sum(again.values**2), (b.data, b.indices, again)

        return jax.value_and_grad(total, has_aux=True)(x.values)

    x = direct.SparseTensor.from_dense(image(BATCH), density=0.3, select="magnitude")
    expected = there_and_back(x)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(x, NamedSharding(mesh, P("data")))
        found = jax.jit(there_and_back)(sharded)
        assert jax.typeof(found[1]).sharding.spec[0] == "data"
    assert_trees_equal(jax.device_get(found), expected)
