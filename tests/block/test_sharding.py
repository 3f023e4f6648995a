"""Several devices: one list a device in shard_map; one list for all under automatic partitioning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxsparse
from jaxsparse import block
from tests.block.test_jax_rules import G, inputs, layer
from tests.direct.test_sharding import assert_no_collective, assert_one_all_reduce_each, compiled

pytestmark = pytest.mark.core

BATCH = 16


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))


@pytest.fixture(scope="module")
def operands():
    return inputs(BATCH)


def capacious(x, mask, kernel):
    """`layer` where all blocks of all images fit."""
    return block.conv(x, kernel, blocks=block.reduce_mask(mask, G))


def total(x, mask, kernel):
    return jnp.sum(jnp.sin(capacious(x, mask, kernel)))


@pytest.fixture(scope="module")
def single(operands):
    return jax.jit(capacious)(*operands), jax.jit(jax.grad(total, 2))(*operands)


@pytest.mark.parametrize("check_vma", [True, False])
def test_one_list_a_device(mesh, operands, single, check_vma):
    specs = {"in_specs": (P("data"), P("data"), P()), "mesh": mesh, "check_vma": check_vma}
    f = jax.shard_map(capacious, out_specs=P("data"), **specs)
    y, found = compiled(f, *operands)
    assert_no_collective(found)
    np.testing.assert_allclose(y, single[0], rtol=1e-5, atol=1e-5)

    def gradient(x, mask, kernel):
        return jax.grad(lambda kernel: jnp.sum(jnp.sin(f(x, mask, kernel))))(kernel)

    g, found = compiled(gradient, *operands)
    assert_one_all_reduce_each(found, [operands[2].shape])
    np.testing.assert_allclose(g, single[1], rtol=1e-4, atol=1e-4)


def test_gradient_inside_shard_map_sums_over_devices(mesh, operands, single):
    f = jax.shard_map(
        jax.grad(total, 2), mesh=mesh, in_specs=(P("data"), P("data"), P()), out_specs=P()
    )
    g, found = compiled(f, *operands)
    assert_one_all_reduce_each(found, [operands[2].shape])
    np.testing.assert_allclose(g, single[1], rtol=1e-4, atol=1e-4)


def test_a_list_that_is_split(mesh, operands, single):
    """Made on the whole batch, handed out."""

    def on_one_device(x, blocks, kernel):
        return block.conv(x, kernel, blocks=jax.tree.map(lambda a: a[0], blocks))

    def run(x, mask, kernel):
        blocks = block.split(block.reduce_mask(mask, G), 8, batch_size=BATCH, capacity=2 * G.blocks)
        f = jax.shard_map(
            on_one_device, mesh=mesh, in_specs=(P("data"), P("data"), P()), out_specs=P("data")
        )
        return f(x, blocks, kernel)

    np.testing.assert_allclose(jax.jit(run)(*operands), single[0], rtol=1e-5, atol=1e-5)


def test_split_lists_are_the_lists_of_the_parts(operands):
    _, mask, _ = operands
    rows = BATCH * G.blocks
    whole = block.reduce_mask(mask, G)
    for parts in (1, 8):
        lists = block.split(whole, parts, batch_size=BATCH)
        for part, piece in enumerate(np.split(np.asarray(mask), parts)):
            wanted = block.reduce_mask(piece, G, capacity=rows)
            one = jax.tree.map(lambda a, part=part: a[part], lists)
            np.testing.assert_array_equal(one.indices, wanted.indices)
            assert int(one.count) == int(wanted.count)
    few = block.split(whole, 4, batch_size=BATCH, capacity=2)
    assert (few.count > 2).any() and few.overflow.tolist() == np.maximum(few.count - 2, 0).tolist()
    np.testing.assert_array_equal(
        few.indices, block.split(whole, 4, batch_size=BATCH).indices[:, :2]
    )


def test_a_symbolic_batch_is_split():
    """Of a size that is a multiple of the parts; of one that may not be the error says so."""
    shapes = jax.export.symbolic_shape("4 * n, 12", scope=(scope := jax.export.SymbolicScope()))
    g = block.geometry((12,), 4, kernel_sizes=3)

    def run(mask, parts=4):
        return block.split(
            block.reduce_mask(mask, g, capacity=9), parts, batch_size=mask.shape[0]
        ).indices

    checks = jaxsparse.export_checks()
    mask = jax.ShapeDtypeStruct(shapes, jnp.bool_)
    exported = jax.export.export(jax.jit(run), disabled_checks=checks)(mask)
    some = jnp.zeros((8, 12), bool).at[jnp.array([0, 3, 6]), jnp.array([0, 5, 11])].set(True)
    np.testing.assert_array_equal(exported.call(some), run(some))
    any_size = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 12", scope=scope), jnp.bool_)
    with pytest.raises(ValueError, match="split: parts must be a divisor of batch_size, b, got 2"):
        jax.export.export(jax.jit(lambda mask: run(mask, 2)), disabled_checks=checks)(any_size)


def test_automatic_partitioning_is_right(mesh, operands, single):
    """Replicated: the list runs over the whole batch."""
    x, mask, kernel = operands
    split = NamedSharding(mesh, P("data"))
    arguments = (
        *jax.device_put((x, mask), split),
        jax.device_put(kernel, NamedSharding(mesh, P())),
    )
    y, found = compiled(capacious, *arguments)
    assert {kind for kind, _ in found} <= {"all-gather"}
    np.testing.assert_allclose(y, single[0], rtol=1e-5, atol=1e-5)
    g, _ = compiled(jax.grad(total, 2), *arguments)
    np.testing.assert_allclose(g, single[1], rtol=1e-4, atol=1e-4)


def test_explicit_mesh(operands, single):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x, mask, kernel = operands
        x, mask = jax.device_put((x, mask), NamedSharding(mesh, P("data")))
        kernel = jax.device_put(kernel, NamedSharding(mesh, P()))
        y = jax.jit(capacious)(x, mask, kernel)
        np.testing.assert_allclose(jax.device_get(y), single[0], rtol=1e-5, atol=1e-5)
        g, gx = jax.jit(jax.grad(total, (2, 0)))(x, mask, kernel)
        assert jax.typeof(gx).sharding.spec[0] == "data"
        np.testing.assert_allclose(jax.device_get(g), single[1], rtol=1e-4, atol=1e-4)


def test_capacity_is_that_of_each_device(mesh, operands):
    x, mask, kernel = operands
    f = jax.shard_map(layer, mesh=mesh, in_specs=(P("data"), P("data"), P()), out_specs=P("data"))
    y = jax.jit(f)(x, mask, kernel)
    for i in range(8):
        two = slice(2 * i, 2 * i + 2)
        wanted = layer(x[two], mask[two], kernel)
        np.testing.assert_allclose(y[two], wanted, rtol=1e-5, atol=1e-5)
