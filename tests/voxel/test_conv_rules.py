"""What holds of the convolutions beside their values: bits, dtypes, plans, JAX's transformations, large lists."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxsparse
import xla_kernels
from jaxsparse import voxel
from jaxsparse.voxel import _conv_kernels
from tests.voxel.common import some_rows, tensor
from tests.voxel.test_conv import close, numbers

SHAPE = (5, 6, 4)


def some(rng, channels=5, dtype=np.float32, share=0.3):
    rows = some_rows(rng, SHAPE, share=share)
    return tensor(rows, SHAPE, numbers(rng, len(rows), channels).astype(dtype))


def bits(x):
    return np.asarray(x).tobytes()


@pytest.mark.core
def test_bits_do_not_depend_on_the_order_of_points_or_on_repeats(rng):
    x = some(rng)
    kernel, bias = (jnp.asarray(numbers(rng, *s)) for s in ((3, 3, 3, 5, 7), (7,)))

    def gradients(x, kernel, bias):
        def loss(features, kernel, bias):
            y = voxel.conv(x.replace(features=features), kernel, bias, strides=2)
            return jnp.sum(jnp.sin(y.features)), y.features

        return jax.grad(loss, (0, 1, 2), has_aux=True)(x.features, kernel, bias)

    step = jax.jit(gradients)
    first = step(x, kernel, bias)
    order = rng.permutation(x.capacity)
    points = np.asarray(x.coords)[order], np.asarray(x.features)[order]
    again = voxel.VoxelTensor.from_coords(
        *points, batch_size=x.batch_size, spatial_shape=SHAPE, capacity=x.capacity
    )
    for other in (step(x, kernel, bias), step(again, kernel, bias)):
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(other), strict=True):
            assert bits(a) == bits(b)
    assert step._cache_size() == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16])
def test_half_precision_adds_in_float32_and_rounds_last(dtype, rng):
    x = some(rng, dtype=dtype)
    kernel, bias = (numbers(rng, *s).astype(dtype) for s in ((3, 3, 3, 5, 7), (7,)))
    background = numbers(rng, 5).astype(dtype)
    wide = [np.asarray(v, np.float32) for v in (x.features, kernel, bias, background)]
    for ground, wide_ground in ((None, None), (jnp.asarray(background), jnp.asarray(wide[3]))):
        y = voxel.conv(x.replace(background=ground), jnp.asarray(kernel), jnp.asarray(bias))
        z = voxel.conv(
            x.replace(features=jnp.asarray(wide[0]), background=wide_ground),
            jnp.asarray(wide[1]),
            jnp.asarray(wide[2]),
        )
        assert y.dtype == dtype and bits(y.features) == bits(z.features.astype(dtype))

    def loss(features, kernel):
        y = voxel.submanifold_conv(x.replace(features=features), kernel)
        return jnp.sum(y.features.astype(jnp.float32) ** 2)

    found = jax.grad(loss, (0, 1))(x.features, jnp.asarray(kernel))
    x32 = x
    x = x.replace(features=jnp.asarray(wide[0]))
    wanted = jax.grad(loss, (0, 1))(x.features, jnp.asarray(wide[1]))
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == dtype
        scale = float(jnp.max(jnp.abs(b)))
        close(a / dtype(scale), np.asarray(b) / scale, atol=2e-2, rtol=2e-2)
    assert x32.dtype == dtype


def test_plans_change_nothing(rng):
    x = some(rng)
    shapes = [(3, 3, 3, 5, 4), (2, 2, 2, 4, 6), (3, 3, 3, 6, 6), (2, 2, 2, 6, 3), (2, 2, 2, 3, 2)]
    kernels = [jnp.asarray(numbers(rng, *s)) for s in shapes]
    layers = [
        voxel.Layer("submanifold_conv", 3),
        voxel.Layer("conv", 2, strides=2, capacity=40),
        voxel.Layer("submanifold_conv", 3),
        voxel.Layer("inverse_conv", 2, strides=2),
        voxel.Layer("conv_transpose", 2, strides=2),
    ]

    def network(x, kernels, plan):
        a = voxel.submanifold_conv(x, kernels[0], plan=plan[0])
        b = voxel.conv(a, kernels[1], strides=2, capacity=40, plan=plan[1])
        c = voxel.submanifold_conv(b, kernels[2], plan=plan[2])
        d = voxel.inverse_conv(c, kernels[3], onto=a, strides=2, plan=plan[3])
        return voxel.conv_transpose(d, kernels[4], strides=2, plan=plan[4])

    with_plan = network(x, kernels, voxel.plan(x, layers))
    without = network(x, kernels, [None] * 5)
    for a, b in zip(jax.tree.leaves(with_plan), jax.tree.leaves(without), strict=True):
        assert bits(a) == bits(b)


def test_vmap_scan_and_remat(rng):
    x = some(rng)
    kernels = jnp.asarray(numbers(rng, 2, 3, 3, 3, 5, 5)) / 10

    def layer(features, kernel):
        return voxel.submanifold_conv(x.replace(features=features), kernel).features

    def gradient(kernel):
        return jax.grad(lambda k: jnp.sum(jax.checkpoint(layer)(x.features, k) ** 2))(kernel)

    mapped = jax.jit(jax.vmap(gradient))(kernels)
    for kernel, found in zip(kernels, mapped, strict=True):
        close(found, gradient(kernel))
    last, _ = jax.lax.scan(lambda f, k: (layer(f, k), None), x.features, kernels)
    close(last, layer(layer(x.features, kernels[0]), kernels[1]))


def test_a_symbolic_number_of_rows_is_exported(rng):
    x = some(rng)
    kernel = jnp.asarray(numbers(rng, 3, 3, 3, 5, 2))

    def layer(coords, features, count):
        y = voxel.VoxelTensor(coords, features, count, x.batch_size, SHAPE)
        return jax.grad(lambda k: jnp.sum(voxel.submanifold_conv(y, k).features ** 2))(kernel)

    (rows,) = export.symbolic_shape("n")
    kinds = (
        jax.ShapeDtypeStruct((rows, 4), jnp.int32),
        jax.ShapeDtypeStruct((rows, 5), jnp.float32),
        jax.ShapeDtypeStruct((), jnp.int32),
    )
    exported = export.export(jax.jit(layer), disabled_checks=jaxsparse.export_checks())(*kinds)
    read = export.deserialize(exported.serialize())
    arguments = x.coords, x.features, x.count
    close(read.call(*arguments), layer(*arguments))


def test_workspace_is_reported_and_does_not_grow_with_the_rows():
    def sizes(rows):
        features = jax.ShapeDtypeStruct((rows, 64), jnp.float32)
        kernel = jax.ShapeDtypeStruct((27, 64, 100), jnp.float32)
        cotangent = jax.ShapeDtypeStruct((rows, 100), jnp.float32)
        table = jax.ShapeDtypeStruct((27, rows), jnp.int32)
        conv, grad = _conv_kernels.map_conv, _conv_kernels.map_conv_kernel_grad
        return (
            conv.workspace_bytes(_conv_kernels.Conv(1), features, kernel, table, platform="cpu"),
            grad.workspace_bytes(1, features, cotangent, table, platform="cpu"),
        )

    assert sizes(2**14) == sizes(2**24)
    assert max(sizes(2**24)) < 40 * 2**20
    with pytest.raises(ValueError, match="do not fall into groups"):
        xla_kernels.workspace_bytes(
            "map_conv", taps=1, in_rows=1, out_rows=1, in_channels=3, out_channels=4, groups=2, itemsize=4
        )  # fmt: skip


def test_backward_maps_are_not_built_forward(rng):
    x = some(rng)
    kernel = jnp.asarray(numbers(rng, 2, 2, 2, 5, 3))
    text = jax.jit(lambda x, k: voxel.conv(x, k, strides=2)).lower(x, kernel).compile().as_text()
    assert text.count('"jaxsparse_voxel_kernel_map"') == 1
    assert text.count('"jaxsparse_voxel_map_conv"') == 1


def test_pairs_times_channels_beyond_31_bits(rng):
    """A full volume: 26 million pairs of 96 channels each, 2.5e9 numbers."""
    side, channels = 100, 96
    axis = np.arange(side, dtype=np.int32)
    coords = np.stack(np.meshgrid([0], axis, axis, axis, indexing="ij"), -1).reshape(-1, 4)
    x = voxel.VoxelTensor(
        jnp.asarray(coords), jnp.ones((side**3, channels)), jnp.int32(side**3), 1, (side,) * 3
    )
    pairs = (3 * side - 2) ** 3
    assert pairs * channels > 2**31
    y = voxel.submanifold_conv(x, jnp.ones((3, 3, 3, channels, 1)))
    taps = np.array([2] + [3] * (side - 2) + [2])
    wanted = channels * taps[:, None, None] * taps[None, :, None] * taps[None, None]
    np.testing.assert_array_equal(np.asarray(y.features).reshape((side,) * 3), wanted)
