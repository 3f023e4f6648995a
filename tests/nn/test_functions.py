"""Layer functions mean the same for a SparseTensor and for the dense array it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct, nn

pytestmark = pytest.mark.core


def positive(shape, density=0.4):
    rng = np.random.default_rng(3)
    return jnp.asarray(np.where(rng.random(shape) < density, rng.random(shape), 0), jnp.float32)


@pytest.mark.parametrize(
    ("window", "strides"),
    [(2, None), (3, 2), ((2, 3), (1, 2)), (1, 3), (5, 5), (9, 9), (2**31 - 1, None), (99, 1)],
)
def test_max_pool_twins_agree_on_positive_input(window, strides):
    x = positive((2, 9, 7, 3))
    dense = nn.max_pool(x, window, strides)
    sparse = nn.max_pool(direct.SparseTensor.from_dense(x, density=1.0), window, strides)
    np.testing.assert_array_equal(sparse.to_dense(), dense)


def test_dense_max_pool_covers_the_cut_window():
    x = jnp.arange(5.0).reshape(1, 5, 1)
    assert nn.max_pool(x, 2).ravel().tolist() == [1.0, 3.0, 4.0]
    assert nn.max_pool(-x, 2).ravel().tolist() == [0.0, -2.0, -4.0]
    gradient = jax.grad(lambda x: nn.max_pool(x, 2).sum())(x)
    assert gradient.ravel().tolist() == [0.0, 1.0, 0.0, 1.0, 1.0]


def test_max_pool_capacity():
    x = direct.SparseTensor.from_dense(positive((1, 8, 8, 1)), density=1.0)
    assert nn.max_pool(x, 2, capacity=5).keys.shape == (1, 1, 5)
    with pytest.raises(
        ValueError, match="max_pool: capacity must be left out for a dense array, got 5"
    ):
        nn.max_pool(x.to_dense(), 2, capacity=5)


@pytest.mark.parametrize(("window", "strides"), [((2, 2, 2), None), (0, None), (2, (1,)), (2, -1)])
def test_max_pool_bad_windows(window, strides):
    for x in (jnp.zeros((1, 4, 4, 1)), direct.SparseTensor.from_dense(jnp.zeros((1, 4, 4, 1)))):
        with pytest.raises(ValueError, match=r"max_pool: (window_shape|strides)\b.* must be"):
            nn.max_pool(x, window, strides)


def test_relu_and_to_dense():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4, 3)), jnp.float32)
    sparse = nn.relu(direct.SparseTensor.from_dense(x, density=1.0))
    np.testing.assert_array_equal(nn.to_dense(sparse), nn.relu(x))
    assert nn.to_dense(x) is x
