"""Pooling of all entries of a (batch element, channel) into one number."""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.direct import _kernels
from jaxsparse.direct._sources import choose
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def global_max_pool(x: SparseTensor) -> jax.Array:
    """The maximum of the stored entries of each (batch element, channel), 0 where there is none.

    A voxel that is not stored takes no part. NaN is a maximum. The gradient goes to the maximum, among equal ones to
    the lowest key. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.

    Returns:
      A dense array ``[batch, channels]`` of the dtype of ``x``.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``.
      ValueError: its arrays do not fit together.

    Source: :func:`max_pool` with one window over the whole volume.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[-1.0], [0.0], [-3.0]], [[0.0], [0.0], [0.0]]]))
      >>> direct.global_max_pool(x).tolist()
      [[-1.0], [0.0]]
    """
    check_tensor("global_max_pool", "x", x)
    _, values, _ = choose(_kernels.global_max_pool, x.volume, x.keys, x.values)
    return values.reshape(values.shape[:2])


def global_avg_pool(x: SparseTensor) -> jax.Array:
    """The mean of the stored entries of each (batch element, channel), 0 where there is none.

    Divides by the number of stored entries, not by the volume. Summed in float64 in a fixed order. Differentiable in
    reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.

    Returns:
      A dense array ``[batch, channels]`` of the dtype of ``x``.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``.
      ValueError: its arrays do not fit together.

    Source: :func:`avg_pool` with one window over the whole volume.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [3.0]], [[0.0], [0.0], [0.0]]]))
      >>> direct.global_avg_pool(x).tolist()
      [[2.0], [0.0]]
    """
    check_tensor("global_avg_pool", "x", x)
    return _mean(x.volume, *_kernels.global_avg_pool.align(x.keys, x.values))


@custom_vjp(static=1)
def _mean(volume, keys, values):
    (mean,) = _kernels.global_avg_pool(volume, keys, values)
    return mean


@backward_of(_mean)
def _mean_bwd(volume, keys, cotangent):
    return None, _mean_grad(volume, keys, cotangent)


@custom_vjp(static=1)
def _mean_grad(volume, keys, g):
    (out,) = _kernels.global_avg_pool_grad(volume, keys, g)
    return out


@backward_of(_mean_grad)
def _mean_grad_bwd(volume, keys, cotangent):
    return None, _mean(volume, keys, cotangent)
