"""Between the oracle's NumPy containers and the library's, and how results are compared."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse.direct import SparseTensor
from tests.oracle import Sparse

BF16 = np.dtype(jnp.bfloat16)
F16, F32, F64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
DTYPES = (F32, F64, BF16, F16)


def precision(dtype):
    """A context in which arrays of `dtype` exist: float64 needs 64-bit mode."""
    return jax.enable_x64(np.dtype(dtype) == F64)


def tensor(x: Sparse) -> SparseTensor:
    """The library's container, unchecked, on the device."""
    keys, values, nnz = map(jax.device_put, (x.keys, x.values, x.nnz))
    return SparseTensor(keys=keys, values=values, nnz=nnz, spatial_shape=tuple(x.spatial_shape))


def plain(x: SparseTensor) -> Sparse:
    """The oracle's container."""
    keys, values, nnz = map(np.asarray, (x.keys, x.values, x.nnz))
    return Sparse(keys, values, nnz, tuple(x.spatial_shape))


def assert_same(actual: SparseTensor, expected: Sparse):
    """Equal in every slot: keys, counts, values (NaN in the same places), shapes and dtypes."""
    got = plain(actual)
    assert got.spatial_shape == expected.spatial_shape
    assert (got.keys.dtype, got.nnz.dtype) == (np.int32, np.int32)
    assert got.values.dtype == expected.values.dtype
    np.testing.assert_array_equal(got.nnz, expected.nnz, err_msg="nnz", strict=True)
    np.testing.assert_array_equal(got.keys, expected.keys, err_msg="keys", strict=True)
    assert_equal(got.values, expected.values)


def assert_equal(actual, expected):
    """Equal numbers; any NaN equals any NaN, -0 equals 0.  Every dtype here embeds in float64."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    with np.errstate(invalid="ignore"):  # signalling NaN
        np.testing.assert_array_equal(actual.astype(np.float64), expected.astype(np.float64))


def bits(x):
    """The bit patterns of floats, all NaN made one (its payload is not promised)."""
    x = np.asarray(x)
    return np.where(np.isnan(x), np.array(np.nan, x.dtype), x).view(f"u{x.dtype.itemsize}")


def assert_same_bits(actual, expected):
    np.testing.assert_array_equal(bits(actual), bits(expected), strict=True)


def with_gradients(function, *xs: Sparse, g=None):
    """`function` of some tensors, and the cotangent of each one's values for cotangents `g` (None: 0) of its values."""

    @jax.jit
    def run(xs, g):
        def values_of(*values):
            y = function(*(x.replace(values=v) for x, v in zip(xs, values, strict=True)))
            return y.values, y

        _, vjp, y = jax.vjp(values_of, *(x.values for x in xs), has_aux=True)
        return y, *vjp(jnp.zeros_like(y.values) if g is None else g)

    with precision(xs[0].values.dtype):
        return run([tensor(x) for x in xs], None if g is None else jax.device_put(g))


def entries(spatial_shape, lists, values=None, capacity=None, dtype=F32) -> Sparse:
    """A container from key lists [B][C][n], and value lists alike (default: 1, 2, 3, ...)."""
    batch, channels = len(lists), len(lists[0])
    slots = capacity or max(1, *(len(keys) for row in lists for keys in row), 1)
    volume = int(np.prod(spatial_shape))
    x = Sparse(
        np.full((batch, channels, slots), volume, np.int32),
        np.zeros((batch, channels, slots), dtype),
        np.array([[len(keys) for keys in row] for row in lists], np.int32),
        tuple(spatial_shape),
    )
    for b, row in enumerate(lists):
        for c, keys in enumerate(row):
            x.keys[b, c, : len(keys)] = keys
            x.values[b, c, : len(keys)] = (
                np.arange(1, len(keys) + 1) if values is None else values[b][c]
            )
    return x


def random_input(rng, batch, spatial_shape, channels, density, dtype=F32, capacity=None) -> Sparse:
    """Every list with its own random voxels and normal values."""
    volume = int(np.prod(spatial_shape))
    lists = [
        [np.flatnonzero(rng.random(volume) < density) for _ in range(channels)]
        for _ in range(batch)
    ]
    values = [[rng.normal(size=len(keys)) for keys in row] for row in lists]
    return entries(spatial_shape, lists, values, capacity, dtype)
