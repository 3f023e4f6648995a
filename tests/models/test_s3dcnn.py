"""S3DCNN: the dense network with the same weights, its field, its densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import models, nn, voxel


def shapes(rng, field, dims=3, points=40, batch=2):
    """Points near the middle of the field."""
    middle = field // 2
    coords = np.unique(
        np.column_stack([
            rng.integers(0, batch, points),
            *(rng.integers(max(0, middle - 4), min(field, middle + 4), points) for _ in range(dims)),
        ]).astype(np.int32),
        axis=0,
    )  # fmt: skip
    return voxel.VoxelTensor.from_coords(
        coords,
        np.ones((len(coords), 1), np.float32),
        batch_size=batch,
        spatial_shape=(field,) * dims,
    )


def dense_network(model, kernels, biases, x):
    """The same in XLA's own dense operations."""
    dims = model.dims
    layout = ("NHWC", "HWIO", "NHWC") if dims == 2 else ("NDHWC", "DHWIO", "NDHWC")
    for level, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        if level:
            window, step = (1, *(3,) * dims, 1), (1, *(2,) * dims, 1)
            x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, step, "VALID")
        x = jax.lax.conv_general_dilated(
            x, kernel, (1,) * dims, "VALID", dimension_numbers=layout, precision="highest"
        )
        x = x + jnp.broadcast_to(bias, x.shape)
        x = jnp.where(x >= 0, x, jnp.float32(0.33) * x)
    return x.reshape(len(x), -1)


@pytest.mark.parametrize(("dims", "depth", "density"), [(3, 2, None), (2, 3, 1.0)])
def test_it_equals_the_dense_network(dims, depth, density, rng):
    densities = None if density is None else (density,) * (2 * depth)
    model = models.S3DCNN(dims=dims, depth=depth, width=4, densities=densities, rngs=nnx.Rngs(0))
    for i, conv in enumerate(model.convs):  # biases that the ground state carries on
        conv.bias[...] = jnp.linspace(-0.5, 0.7, conv.out_features) * (-1) ** i
    x = shapes(rng, model.field, dims)
    graph, state = nnx.split(model)
    kernels = [conv.kernel[...] for conv in model.convs]
    biases = [conv.bias[...] for conv in model.convs]

    @jax.jit
    def sparse(state, x):
        def loss(state):
            y = nnx.merge(graph, state)(x)
            return jnp.sum(jnp.sin(y)), y

        (_, y), grads = jax.value_and_grad(loss, has_aux=True)(state)
        return y, grads

    @jax.jit
    def dense(kernels, biases, x):
        def loss(kernels, biases):
            y = dense_network(model, kernels, biases, x)
            return jnp.sum(jnp.sin(y)), y

        (_, y), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(kernels, biases)
        return y, grads

    y, grads = sparse(state, x)
    wanted, (kernel_grads, bias_grads) = dense(kernels, biases, x.to_dense())
    np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-5)
    found = nnx.merge(graph, grads)
    for conv, kernel_grad, bias_grad in zip(found.convs, kernel_grads, bias_grads, strict=True):
        np.testing.assert_allclose(conv.kernel[...], kernel_grad, rtol=2e-4, atol=2e-4)
        np.testing.assert_allclose(conv.bias[...], bias_grad, rtol=2e-4, atol=2e-4)


@pytest.mark.core
def test_the_papers_network():
    """Table 1: field, channels, conv parameters and spatial sizes."""
    model = nnx.eval_shape(lambda: models.S3DCNN(40, densities="paper-40", rngs=nnx.Rngs(0)))
    assert (model.field, model.features) == (126, 192)
    assert [conv.out_features for conv in model.convs] == [32, 64, 96, 128, 160, 192]
    weights = sum(int(np.prod(conv.kernel.shape)) for conv in model.convs)
    assert weights == 8 * (32 + 32 * 64 + 64 * 96 + 96 * 128 + 128 * 160 + 160 * 192) == 573696
    size, chain = 126, []
    for _ in range(5):
        chain += [size - 1, (size - 1 - 3) // 2 + 1]
        size = chain[-1]
    assert chain == [125, 62, 61, 30, 29, 14, 13, 6, 5, 2]


def test_dropout_and_evaluation(rng):
    model = models.S3DCNN(3, depth=1, width=8, dropout=0.5, rngs=nnx.Rngs(0))
    x = shapes(rng, model.field)
    with pytest.raises(ValueError, match="rngs"):
        model(x)
    assert model(x, rngs=nnx.Rngs(dropout=1)).shape == (2, 3)
    model.eval()
    np.testing.assert_array_equal(model(x), model(x))
    names = list(model.activations(x))
    assert names == ["input", "conv1", "pool1", "conv2"]
    assert set(nn.calibrate(model, [x])) == {"convs.0", "pools.0", "convs.1"}


def test_a_sample_without_voxels_still_has_an_embedding():
    model = models.S3DCNN(depth=1, width=4, rngs=nnx.Rngs(0))
    model.convs[0].bias[...] = jnp.ones(4)
    x = voxel.VoxelTensor.from_coords([[0, 1, 1, 1]], [[1.0]], batch_size=2, spatial_shape=(6,) * 3)
    y = model(x)
    assert y.shape == (2, 8) and bool((y[1] != 0).any()) and not bool((y[0] == y[1]).all())
