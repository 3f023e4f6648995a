"""Average pooling."""

from collections.abc import Sequence

from jaxsparse._core import capacity as capacities
from jaxsparse._core import windows
from jaxsparse._core.derivatives import custom_vjp
from jaxsparse.direct import _kernels
from jaxsparse.direct._windows import window_spread
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def avg_pool(
    x: SparseTensor,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    capacity: int | None = None,
) -> SparseTensor:
    """The mean of the *stored* entries of each window.

    Windows start at multiples of the stride and are cut at the end: ``ceil(size / stride)`` outputs a dimension, no
    padding in front. The sum of a window, in ascending order of the keys, is divided by how many entries it has stored:
    a voxel that is not stored takes no part. A mean of exactly 0 is an entry. Differentiable in reverse mode, to any
    order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      window: an integer >= 1, or one a spatial dimension; may be larger than the input.
      strides: likewise; None: the window.
      capacity: entries that a (batch element, channel) may store; the largest means are kept, of equal ones the lower
        key. None: the capacity of ``x``, which cannot overflow unless windows overlap.

    Returns:
      ``SparseTensor`` ``[batch, *ceil(spatial / strides), channels]`` of the dtype of ``x``.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``, or an argument is no integer.
      ValueError: ``window``, ``strides`` or ``capacity`` is below 1 or has the wrong length.

    Source: the mean over active sites of SparseConvNet, here for each (batch element, channel); ILA-SCNN has none.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [3.0], [0.0], [0.0], [-2.0]]]))
      >>> direct.avg_pool(x, 2).to_dense().ravel().tolist()
      [2.0, 0.0, -2.0]
    """
    check_tensor("avg_pool", "x", x)
    geometry = windows.pooling("avg_pool", x.spatial_shape, window, strides, listed=True)
    slots = capacities.resolve(
        "avg_pool", capacity, None, volume=geometry.out_volume, bound=x.capacity
    )
    static = _kernels.Pool(geometry, slots)
    keys, values, nnz, _ = _avg_pool(static, *_kernels.avg_pool.align(x.keys, x.values))
    return SparseTensor(keys, values, nnz, geometry.out_shape)


@custom_vjp(static=1)
def _avg_pool(static, xk, xv):
    return _kernels.avg_pool(static, xk, xv)


def _avg_pool_fwd(static, xk, xv):
    yk, yv, nnz, count = _avg_pool(static, xk, xv)
    return (yk, yv, nnz, count), (xk, yk, count)


def _avg_pool_bwd(static, residuals, cotangents):
    xk, yk, count = residuals
    return None, window_spread(static.geometry, xk, yk, cotangents[1], count)


_avg_pool.defvjp(_avg_pool_fwd, _avg_pool_bwd)
