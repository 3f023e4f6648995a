"""Layers without parameters, over sparse containers and dense channels-last arrays alike."""

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np

from jaxsparse import direct

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
      ValueError: ``window_shape`` or ``strides`` do not fit the spatial dimensions, or ``capacity`` came with an array.

    Source: ILA-SCNN's pooling, without its maximum with 0.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.max_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [1.0, 3.0, 4.0]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.max_pool(x, window_shape, strides, capacity=capacity)
    if capacity is not None:
        raise ValueError(f"max_pool of a dense array takes no capacity, got {capacity}")
    dims = x.ndim - 2
    window = _per_dim("window_shape", window_shape, dims)
    steps = window if strides is None else _per_dim("strides", strides, dims)
    sizes = x.shape[1:-1]
    ends = [
        (0, max(0, (-(-n // s) - 1) * s + w - n))
        for n, w, s in zip(sizes, window, steps, strict=True)
    ]
    return jax.lax.reduce_window(
        x,
        np.array(-np.inf, x.dtype),  # a tracer here would hide the maximum from autodiff
        jax.lax.max,
        (1, *window, 1),
        (1, *steps, 1),
        [(0, 0), *ends, (0, 0)],
    )


def relu(x: Activation) -> Activation:
    """The rectifier; of a ``SparseTensor`` only positive entries stay stored.

    A convolution with ``select="relu"`` does it and the selection in one.

    Args:
      x: a ``SparseTensor`` or a floating point array.

    Returns:
      The same kind as ``x``, of the same shape and capacity.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return direct.relu(x) if isinstance(x, direct.SparseTensor) else jax.nn.relu(x)


def to_dense(x: direct.SparseTensor | jax.Array) -> jax.Array:
    """The dense channels-last array that ``x`` stands for; an array is returned as it is.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import direct, nn
    >>> x = direct.SparseTensor.from_dense(jnp.eye(4).reshape(1, 4, 4, 1), capacity=4)
    >>> nn.to_dense(x).shape
    (1, 4, 4, 1)
    """
    return x.to_dense() if isinstance(x, direct.SparseTensor) else x


def _per_dim(name: str, value: int | Sequence[int], dims: int) -> tuple[int, ...]:
    values = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(values) != dims or any(v < 1 for v in values):
        raise ValueError(
            f"max_pool's {name} must be a positive integer or {dims} of them, got {value}"
        )
    return values
