"""What JAX does with sites and maps: vmap, several devices, export."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import jaxsparse
import xla_kernels
from jaxsparse import voxel
from jaxsparse.voxel import Layer, VoxelTensor
from tests.direct.test_sharding import assert_no_collective, compiled
from tests.voxel.common import some_rows, tensor

pytestmark = pytest.mark.core

SPATIAL, BATCH = (4, 5), 8
LAYERS = (Layer("submanifold_conv", 3), Layer("conv", 3, strides=2, capacity=40))


def cloud(rng, number=20, batch=BATCH):
    coords = np.stack([rng.integers(0, n, number) for n in (batch, *SPATIAL)], axis=1)
    return jnp.asarray(coords, jnp.int32), jnp.asarray(rng.normal(size=(number, 2)), jnp.float32)


def network(coords, features, batch=BATCH):
    """From points to maps, and something of all of them."""
    x = VoxelTensor.from_coords(
        coords, features, batch_size=batch, spatial_shape=SPATIAL, capacity=20, duplicates="mean"
    )
    total = jnp.sum(x.to_dense() ** 2)
    for entry in voxel.plan(x, LAYERS):
        rows = jnp.pad(x.features, ((0, 1), (0, 0)))
        total = total + jnp.sum(rows[entry.inputs] ** 2)
    return total


def test_vmap_is_one_list_after_the_other(rng):
    coords, features = map(jnp.stack, zip(*(cloud(rng) for _ in range(3)), strict=True))
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(network, 1)))(coords, features)
    one = jax.jit(jax.value_and_grad(network, 1))
    for i in range(3):
        value, gradient = one(coords[i], features[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-6)
        np.testing.assert_allclose(gradients[i], gradient, rtol=1e-6)


def test_one_list_a_device(rng):
    """Lists that are split, each device's maps on its own: no collective, and the sums are those of the whole."""
    rows = some_rows(rng, SPATIAL, batch=BATCH)
    features = rng.normal(size=(len(rows), 2)).astype(np.float32)
    x = tensor(rows, SPATIAL, features, batch=BATCH, background=np.ones(2, np.float32))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def on_one_device(parts):
        x = jax.tree.map(lambda a: a[0], parts)
        entries = voxel.plan(x, LAYERS)
        return x.to_dense(), entries[1].count[None]

    f = jax.shard_map(on_one_device, mesh=mesh, in_specs=P("data"), out_specs=P("data"))
    parts = voxel.split(x, 8, capacity=20)
    (dense, counts), text = compiled(f, parts)
    assert_no_collective(text)
    np.testing.assert_array_equal(dense, x.to_dense())
    assert int(counts.sum()) == int(voxel.plan(x, LAYERS)[1].count)


def test_split_lists_are_the_lists_of_the_parts(rng):
    rows = some_rows(rng, SPATIAL, batch=BATCH)
    features = rng.normal(size=(len(rows), 2)).astype(np.float32)
    x = tensor(rows, SPATIAL, features, batch=BATCH, capacity=len(rows) + 3)
    lists = voxel.split(x, 4, capacity=5)
    for part in range(4):
        one = jax.tree.map(lambda a, part=part: a[part], lists)
        mine = rows[:, 0] // 2 == part
        local = rows[mine] - np.array([2 * part, 0, 0], np.int32)
        wanted = tensor(local, SPATIAL, features[mine], capacity=5)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_array_equal(a, b)
        assert one.batch_size == 2
    by_features = jax.grad(
        lambda f: jnp.sum(voxel.split(x.replace(features=f), 4, capacity=60).features ** 2)
    )(x.features)
    np.testing.assert_allclose(by_features, 2 * x.features, rtol=1e-6)
    with pytest.raises(ValueError, match="parts must be a divisor of the batch size, 8, got 3"):
        voxel.split(x, 3)


def test_export_of_a_symbolic_number_of_points(rng):
    (number,) = export.symbolic_shape("number")

    def run(coords, features):
        x = VoxelTensor.from_coords(coords, features, batch_size=BATCH, spatial_shape=SPATIAL)
        first, second = voxel.plan(x, (LAYERS[0], Layer("conv", 3, strides=2)))
        return x, first.inputs, second.outputs

    shapes = (
        jax.ShapeDtypeStruct((number, 3), jnp.int32),
        jax.ShapeDtypeStruct((number, 2), jnp.float32),
    )
    made = export.export(
        jax.jit(lambda coords, features: jax.tree.leaves(run(coords, features))),
        disabled_checks=jaxsparse.export_checks(),
    )(*shapes)
    again = export.deserialize(made.serialize())
    for n in (1, 9):
        points = cloud(rng, n)
        wanted = jax.tree.leaves(jax.jit(run)(*points))
        found = again.call(*points)
        # The containers are; of a symbolic number of points there is room for more sites than of a known one.
        for a, b in zip(found[:4], wanted[:4], strict=True):
            np.testing.assert_array_equal(a, b)


def test_forward_mode_is_a_clear_error(rng):
    coords, features = cloud(rng)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda f: network(coords, f), (features,), (features,))


@pytest.mark.parametrize("name", ["sort_rows", "merge_rows"])
def test_a_platform_without_kernels_is_named_at_lowering(name, rng, monkeypatch):
    monkeypatch.setattr(xla_kernels, "has_cuda_kernel", lambda target: "voxel" not in target)
    traced = jax.jit(network).trace(*cloud(rng))
    assert f"jaxsparse_voxel_{name}" in str(traced.jaxpr)
    with pytest.raises(NotImplementedError, match="no CUDA kernel for jaxsparse_voxel_sort_rows"):
        traced.lower(lowering_platforms=("cuda",))
    with pytest.raises(NotImplementedError, match="tpu"):
        traced.lower(lowering_platforms=("tpu",))
