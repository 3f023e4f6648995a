"""What the tests of the JAX rules run: every operation by itself, and a small network of all of them."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct
from jaxsparse.direct import SparseTensor

SPATIAL = (5, 6)
IN, OUT = 3, 4


def image(batch=2, spatial=SPATIAL, channels=IN, density=0.4, dtype=np.float32, seed=0):
    """A mostly empty dense array."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *spatial, channels))
    return jax.device_put(np.where(rng.random(x.shape) < density, x, 0).astype(dtype))


def normal(*shape, dtype=np.float32, seed=1):
    return jax.device_put(np.random.default_rng(seed).normal(size=shape).astype(dtype))


def some(*shape, seed=2):
    """A mask with about half of the weights alive."""
    return jax.device_put(np.random.default_rng(seed).random(shape) < 0.6)


def sparse(x, capacity=12) -> SparseTensor:
    return SparseTensor.from_dense(x, capacity=capacity, select="magnitude")


def parameters(dtype=np.float32):
    """Of `network`: every weight has a shape of its own."""
    return {
        "kernel1": normal(3, 3, IN, OUT, dtype=dtype, seed=3),
        "bias1": normal(OUT, dtype=dtype, seed=4),
        "kernel2": normal(2, 3, OUT, 6, dtype=dtype, seed=5),
        "bias2": normal(6, dtype=dtype, seed=6),
    }


def network(params, x, select="relu"):
    """Dense in, dense out."""
    y = direct.conv(sparse(x), params["kernel1"], params["bias1"], density=0.6)
    y = direct.max_pool(direct.relu(y), 2)
    mask = some(2, 3, OUT, 6)
    y = direct.conv(
        y, params["kernel2"], params["bias2"], mask=mask, select=select, capacity=7, padding="VALID"
    )
    return y.to_dense()


def kit(params, x):
    """Dense in, dense out, through the other operations that treat each batch element by itself."""
    x = direct.conv(sparse(x), params["kernel1"], params["bias1"], density=0.6)
    y = direct.avg_pool(x, 2)
    x = direct.add(direct.leaky_relu(x, 0.3), direct.unpool(y, x), 25)
    y = direct.concat([direct.max_pool(x, 2), y])
    pooled = direct.global_max_pool(y) + direct.global_avg_pool(y)
    return y.to_dense() + pooled[:, None, None]


def loss(params, x):
    return jnp.mean(jnp.sin(network(params, x)))


def operations(dtype=np.float32):
    """Name -> function of a dense image, differentiable; together all kernels and all ways to call them.

    (`concat` is in `kit`; `dropout`, whose random bits take long to compile, has the kernel of `leaky_relu`.)
    """
    kernel, bias = normal(3, 2, IN, OUT, dtype=dtype), normal(OUT, dtype=dtype, seed=7)
    mask = some(*kernel.shape)
    coords = np.stack(np.meshgrid(np.arange(2), np.arange(4), np.arange(3), indexing="ij"), -1)

    def points(x):
        rows = x.reshape(-1, IN)[: coords.size // 3]
        return SparseTensor.from_coords(
            coords.reshape(-1, 3), rows, batch_size=2, spatial_shape=SPATIAL, capacity=9,
            select="value",
        )  # fmt: skip

    return {
        "from_dense": lambda x: sparse(x),
        "to_dense": lambda x: sparse(x).to_dense(),
        "to_bcoo": lambda x: sparse(x).to_bcoo().data,
        "from_coords": points,
        "conv": lambda x: direct.conv(sparse(x), kernel, bias),
        "conv value": lambda x: direct.conv(sparse(x), kernel, bias, capacity=9),
        "conv magnitude": lambda x: direct.conv(sparse(x), kernel, capacity=9, select="magnitude"),
        "conv relu": lambda x: direct.conv(sparse(x), kernel, bias, density=0.3, select="relu"),
        "conv mask": lambda x: direct.conv(sparse(x), kernel, mask=mask, strides=2, padding=1),
        "relu": lambda x: direct.relu(sparse(x)),
        "max_pool": lambda x: direct.max_pool(sparse(x), (2, 3), capacity=5),
        "overlapping max_pool": lambda x: direct.max_pool(sparse(x), 3, 2),
        "avg_pool, unpool": lambda x: direct.unpool(direct.avg_pool(sparse(x), (2, 3)), sparse(x)),
        "global pools": lambda x: (
            direct.global_max_pool(sparse(x)) + direct.global_avg_pool(sparse(x))
        ),
        "leaky_relu": lambda x: direct.leaky_relu(sparse(x), 0.3),
        "add": lambda x: direct.add(sparse(x), sparse(x[:, ::-1]), 15),
        "batch_norm": lambda x: direct.batch_norm(sparse(x), normal(IN, dtype=dtype)),
    }


NAMES = tuple(operations())


def floats(x):
    """The one differentiable array in the result of an operation."""
    return x.values if isinstance(x, SparseTensor) else x


def direction_of(params):
    """A tree like `params` of normal numbers."""
    return jax.tree.map(lambda p: normal(*p.shape, dtype=p.dtype, seed=p.size), params)


def slope_along(f, params, direction, step=1e-6):
    """The derivative of `f(params)`, a tree, along a direction, by central differences."""

    def at(distance):
        return f(jax.tree.map(lambda p, d: p + distance * d, params, direction))

    return jax.tree.map(lambda a, b: (a - b) / (2 * step), at(step), at(-step))


def assert_trees_equal(actual, expected):
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def assert_trees_close(actual, expected, rtol=2e-5, atol=2e-6):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), actual, expected
    )
