"""Between lists of entries and dense arrays, with gradients of any order.

``to_dense`` and ``gather_dense`` are each other's adjoint, and ``from_dense`` is a ``gather_dense`` at the keys it finds.
"""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.entries import SELECT
from jaxsparse.direct import _kernels

Shape = tuple[int, ...]


def from_dense(x: jax.Array, capacity: int, select: str) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keys, values and nnz of the entries of ``x[B, *S, C]`` that are not 0."""
    static = _kernels.Sparsify(capacity, SELECT.index(select))
    keys, values, nnz = _from_dense(x.shape[1:-1], static, *_kernels.from_dense.align(x))
    return keys, values, nnz


def to_dense(spatial_shape: Shape, keys: jax.Array, values: jax.Array) -> jax.Array:
    """``[B, *S, C]``: the stored values at their voxels, 0 elsewhere."""
    return _to_dense(spatial_shape, *_kernels.to_dense.align(keys, values))


def gather_dense(spatial_shape: Shape, keys: jax.Array, dense: jax.Array) -> jax.Array:
    """``[B, C, K]``: the values of ``dense`` at the stored keys, 0 in unused slots."""
    return _gather_dense(spatial_shape, *_kernels.gather_dense.align(keys, dense))


@custom_vjp(static=2)
def _from_dense(spatial_shape, static, x):
    return _kernels.from_dense(static, x)


def _from_dense_fwd(spatial_shape, static, x):
    keys, values, nnz = _from_dense(spatial_shape, static, x)
    return (keys, values, nnz), keys


def _from_dense_bwd(spatial_shape, static, keys, cotangents):
    return (to_dense(spatial_shape, keys, cotangents[1]),)


_from_dense.defvjp(_from_dense_fwd, _from_dense_bwd)


@custom_vjp(static=1)
def _to_dense(spatial_shape, keys, values):
    (dense,) = _kernels.to_dense(spatial_shape, keys, values)
    return dense


@backward_of(_to_dense)
def _to_dense_bwd(spatial_shape, keys, cotangent):
    return None, gather_dense(spatial_shape, keys, cotangent)


@custom_vjp(static=1)
def _gather_dense(spatial_shape, keys, dense):
    (values,) = _kernels.gather_dense(None, keys, dense)
    return values


@backward_of(_gather_dense)
def _gather_dense_bwd(spatial_shape, keys, cotangent):
    return None, to_dense(spatial_shape, keys, cotangent)
