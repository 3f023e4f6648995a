"""Pooling, unpooling, sums and concatenation: sparse and dense mean the same where everything is stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct, nn

pytestmark = pytest.mark.core
from_dense = direct.SparseTensor.from_dense


def full(shape, seed=3):
    """Without zeros: every voxel is stored."""
    return jnp.asarray(np.random.default_rng(seed).uniform(0.5, 2, shape), jnp.float32)


@pytest.mark.parametrize(
    ("window", "strides"), [(2, None), (3, 2), ((2, 3), (1, 2)), (1, 3), (5, 5), ((9, 1), None)]
)
def test_avg_pool_twins_agree_where_everything_is_stored(window, strides):
    x = full((2, 9, 7, 3))
    dense = nn.avg_pool(x, window, strides)
    sparse = nn.avg_pool(from_dense(x), window, strides, capacity=63)
    np.testing.assert_allclose(sparse.to_dense(), dense, rtol=1e-6)


def test_avg_pool_of_arrays_divides_by_the_voxels_inside():
    x = jnp.arange(1.0, 6.0).reshape(1, 5, 1)
    assert nn.avg_pool(x, 2).ravel().tolist() == [1.5, 3.5, 5.0]
    assert nn.avg_pool(x, 1, 2).ravel().tolist() == [1.0, 3.0, 5.0]
    gradient = jax.grad(lambda x: nn.avg_pool(x, 2).sum())(x)
    assert gradient.ravel().tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]
    half = nn.avg_pool(jnp.full((1, 4096, 1), 1 + 1 / 128, jnp.bfloat16), 4096)
    assert half.dtype == jnp.bfloat16 and half.item() == 1 + 1 / 128  # summed in float32


@pytest.mark.parametrize("pool", [nn.global_max_pool, nn.global_avg_pool])
@pytest.mark.parametrize("spatial", [(6,), (3, 5), (2, 3, 4)])
def test_global_pool_twins_agree(pool, spatial):
    x = full((2, *spatial, 3))
    np.testing.assert_allclose(pool(from_dense(x)), pool(x), rtol=1e-6)


@pytest.mark.parametrize("strides", [None, 2, (2, 3)])
def test_unpool_twins_agree(strides):
    fine = full((2, 9, 7, 3))
    steps = (2, 2) if strides == 2 else (2, 3)
    coarse = full((2, 5, -(-7 // steps[1]), 3), seed=4)
    dense = nn.unpool(coarse, fine, strides)
    np.testing.assert_array_equal(dense[:, 3, 5], coarse[:, 1, 5 // steps[1]])
    sparse = nn.unpool(from_dense(coarse), from_dense(fine), strides)
    np.testing.assert_array_equal(sparse.to_dense(), dense)


def test_sums_and_concatenation_agree():
    x, y = full((2, 4, 5, 3)), -full((2, 4, 5, 3), seed=5)
    sparse = from_dense(x), from_dense(y)
    np.testing.assert_array_equal(nn.add(*sparse).to_dense(), nn.add(x, y))
    assert nn.add(*sparse, capacity=7).capacity == 7
    np.testing.assert_array_equal(nn.concat(sparse).to_dense(), nn.concat([x, y]))
    np.testing.assert_allclose(
        nn.leaky_relu(sparse[1], 0.3).to_dense(), nn.leaky_relu(y, 0.3), rtol=1e-6
    )


X = jnp.ones((1, 4, 4, 2))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda s: nn.avg_pool(X, 2, capacity=5),
            ValueError,
            "avg_pool: capacity must be left out",
        ),
        (lambda s: nn.avg_pool(X, 0), ValueError, "avg_pool: window_shape must be at least 1"),
        (lambda s: nn.avg_pool(X, (2, 2, 2)), ValueError, "avg_pool: window_shape must be"),
        (lambda s: nn.avg_pool(X[0, 0], 2), ValueError, "avg_pool: x must be"),
        (lambda s: nn.global_avg_pool(X[0, 0]), ValueError, "global_avg_pool: x must be"),
        (lambda s: nn.unpool(s, X), TypeError, "unpool: onto must be a direct.SparseTensor"),
        (lambda s: nn.unpool(X, s), TypeError, "unpool: onto must be no direct.SparseTensor"),
        (lambda s: nn.unpool(X, X, 2), ValueError, "unpool: x must be of spatial shape"),
        (lambda s: nn.unpool(X, X[0]), ValueError, "unpool: onto must be of rank 4"),
        (lambda s: nn.add(s, X), TypeError, "add: y must be a direct.SparseTensor"),
        (lambda s: nn.add(X, X[:, :2]), ValueError, "add: y must be of shape"),
        (lambda s: nn.add(X, X, 3), ValueError, "add: capacity must be left out"),
        (lambda s: nn.concat([X, s]), TypeError, r"concat: xs\[1\] must be no direct"),
        (lambda s: nn.concat([X, X[:, :2]]), ValueError, r"concat: xs\[1\] must be of shape"),
        (lambda s: nn.concat([]), ValueError, "concat: xs must be at least one"),
        (lambda s: nn.concat(X), TypeError, "concat: xs must be a sequence"),
    ],
)
def test_bad_arguments(call, error, text):
    with pytest.raises(error, match=text):
        call(from_dense(X))
