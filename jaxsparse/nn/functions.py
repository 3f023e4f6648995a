"""Layers without parameters, over sparse containers and dense channels-last arrays alike."""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np

from jaxsparse import direct
from jaxsparse._core import checks, windows
from jaxsparse.direct.tensor import check_tensor

Activation = TypeVar("Activation", direct.SparseTensor, jax.Array)


def max_pool(
    x: Activation,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    capacity: int | None = None,
) -> Activation:
    """Maximum over windows that start at multiples of the stride and are cut at the end.

    Args:
      x: a ``SparseTensor`` (the maximum over its *stored* entries) or an array ``[batch, *spatial, channels]`` (the
        maximum over all voxels). After a ReLU the two agree.
      window_shape: an integer or one for each spatial dimension.
      strides: likewise; the window itself if left out.
      capacity: entries an output channel may store, see :func:`jaxsparse.direct.max_pool`. Sparse input only.

    Returns:
      The same kind as ``x``, with ``ceil(n / stride)`` voxels a spatial dimension.

    Raises:
      ValueError: ``window_shape``, ``strides`` or ``capacity`` is below 1 or has the wrong length, as in
        :func:`jaxsparse.direct.max_pool`; an array has not 1 to 4 spatial dimensions, or came with a ``capacity``.
      TypeError: ``x`` is neither, or not of a floating point type; an argument is no integer.

    Source: ILA-SCNN's pooling, without its maximum with 0.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.max_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [1.0, 3.0, 4.0]
    """
    if isinstance(x, direct.SparseTensor):
        check_tensor("max_pool", "x", x)
        shape = x.spatial_shape
    else:
        x = checks.float_array("max_pool", "x", x)
        shape = windows.dense_spatial_shape("max_pool", x.shape)
    pooling = windows.pooling("max_pool", shape, window_shape, strides, argument="window_shape")
    if isinstance(x, direct.SparseTensor):
        return direct.max_pool(x, window_shape, strides, capacity=capacity)
    if capacity is not None:
        wording = "left out for a dense array"
        raise ValueError(checks.expected("max_pool", "capacity", wording, capacity))
    ends = [
        (0, max(0, (out - 1) * step + size - n))
        for n, out, size, step in zip(*pooling, strict=True)
    ]
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),  # a tracer here would hide the maximum from autodiff
        jax.lax.max,
        (1, *pooling.window, 1),
        (1, *pooling.strides, 1),
        [(0, 0), *ends, (0, 0)],
    )


def relu(x: Activation) -> Activation:
    """The rectifier; of a ``SparseTensor`` only positive entries stay stored.

    A convolution with ``select="relu"`` does it and the selection in one.

    Args:
      x: a ``SparseTensor`` or a floating point array.

    Returns:
      The same kind as ``x``, of the same shape and capacity.

    Raises:
      TypeError: ``x`` is neither, or not of a floating point type.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.relu(x)
    return jax.nn.relu(checks.float_array("relu", "x", x))


def to_dense(x: direct.SparseTensor | jax.Array) -> jax.Array:
    """The dense channels-last array that ``x`` stands for; an array is returned as it is.

    Args:
      x: a ``SparseTensor`` or a floating point array.

    Raises:
      TypeError: ``x`` is neither, or not of a floating point type.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import direct, nn
    >>> x = direct.SparseTensor.from_dense(jnp.eye(4).reshape(1, 4, 4, 1), capacity=4)
    >>> nn.to_dense(x).shape
    (1, 4, 4, 1)
    """
    if isinstance(x, direct.SparseTensor):
        return x.to_dense()
    return checks.float_array("to_dense", "x", x)
