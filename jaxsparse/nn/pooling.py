"""Pooling and unpooling, over sparse containers and dense channels-last arrays alike."""

from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.nn.arguments import Activation, same_kind


def avg_pool(
    x: Activation,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    capacity: int | None = None,
) -> Activation:
    """Mean over windows that start at multiples of the stride and are cut at the end.

    Args:
      x: a ``SparseTensor`` (the mean of its *stored* entries) or an array ``[batch, *spatial, channels]`` (the mean of
        all voxels of the window that lie inside). Where everything is stored the two agree.
      window_shape: an integer or one for each spatial dimension.
      strides: likewise; the window itself if left out.
      capacity: entries an output channel may store, see :func:`jaxsparse.direct.avg_pool`. Sparse input only.

    Returns:
      The same kind as ``x``, with ``ceil(n / stride)`` voxels a spatial dimension.

    Raises:
      TypeError: ``window_shape`` or ``strides`` are no integers.
      ValueError: they do not fit the spatial dimensions, or ``capacity`` came with an array.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.avg_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [0.5, 2.5, 4.0]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.avg_pool(x, window_shape, strides, capacity=capacity)
    if capacity is not None:
        raise ValueError(expected("avg_pool", "capacity", "None for a dense array", capacity))
    x = _channels_last("avg_pool", x)
    shape = x.shape[1:-1]
    g = windows.pooling("avg_pool", shape, window_shape, strides, argument="window_shape")
    geometry = list(zip(shape, g.out_shape, g.window, g.strides, strict=True))
    ends = [(0, max(0, (o - 1) * s + w - n)) for n, o, w, s in geometry]
    dtype = wide_dtype(x.dtype)
    total = jax.lax.reduce_window(
        x.astype(dtype),
        np.zeros((), dtype),
        jax.lax.add,
        (1, *g.window, 1),
        (1, *g.strides, 1),
        [(0, 0), *ends, (0, 0)],
    )
    voxels = np.ones((), dtype)
    for n, o, w, s in geometry:
        starts = np.arange(o) * s
        voxels = np.multiply.outer(voxels, np.minimum(starts + w, n) - starts)
    return (total / voxels.astype(dtype)[None, ..., None]).astype(x.dtype)


def global_max_pool(x: Activation) -> jax.Array:
    """The maximum of each (batch element, channel): ``[batch, channels]``.

    Args:
      x: a ``SparseTensor`` (the maximum of its *stored* entries, 0 where there is none) or an array
        ``[batch, *spatial, channels]`` (of all voxels).

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.global_max_pool(jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[4.0, 5.0]]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.global_max_pool(x)
    x = _channels_last("global_max_pool", x)
    return jnp.max(x, axis=tuple(range(1, x.ndim - 1)))


def global_avg_pool(x: Activation) -> jax.Array:
    """The mean of each (batch element, channel): ``[batch, channels]``.

    Args:
      x: a ``SparseTensor`` (the mean of its *stored* entries, 0 where there is none) or an array
        ``[batch, *spatial, channels]`` (of all voxels).

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.global_avg_pool(jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[2.0, 3.0]]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.global_avg_pool(x)
    x = _channels_last("global_avg_pool", x)
    return jnp.mean(x, axis=tuple(range(1, x.ndim - 1)))


def unpool(
    x: Activation, onto: Activation, strides: int | Sequence[int] | None = None
) -> Activation:
    """The values of ``x`` at the nearest finer voxels: each of ``onto`` gets that of ``coordinate // strides``.

    Args:
      x: what is spread: a ``SparseTensor``, or an array ``[batch, *spatial, channels]``.
      onto: the same kind as ``x``. A ``SparseTensor`` gives keys, counts and capacity of the result; of an array only
        the spatial shape counts.
      strides: an integer or one for each spatial dimension; the smallest between the two shapes if left out.

    Returns:
      The same kind as ``x`` with the spatial shape of ``onto``.

    Raises:
      TypeError: one is sparse and the other is not, or ``strides`` are no integers.
      ValueError: batch, channels or spatial shapes do not fit.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.unpool(jnp.array([[[1.0], [2.0]]]), jnp.zeros((1, 3, 1)), 2).ravel().tolist()
    [1.0, 1.0, 2.0]
    """
    same_kind("unpool", "x", x, "onto", onto)
    if isinstance(x, direct.SparseTensor):
        return direct.unpool(x, cast(direct.SparseTensor, onto), strides)
    y, target = _channels_last("unpool", x), checks.array("unpool", "onto", onto)
    coarse, fine = y.shape[1:-1], target.shape[1:-1]
    if target.ndim != y.ndim:
        wording = f"of rank {y.ndim} as x"
        raise ValueError(expected("unpool", "onto", wording, f"shape {target.shape}"))
    if strides is None:
        strides = tuple(-(-n // m) for n, m in zip(fine, coarse, strict=True))
    g = windows.pooling("unpool", fine, strides, None, argument="strides")
    if g.out_shape != coarse:
        wording = f"of spatial shape ceil({fine} / {g.strides}) = {g.out_shape}"
        raise ValueError(expected("unpool", "x", wording, coarse))
    for axis, (n, stride) in enumerate(zip(fine, g.strides, strict=True), start=1):
        y = jnp.take(y, np.arange(n) // stride, axis=axis)
    return y


def _channels_last(function: str, x: object) -> jax.Array:
    x = checks.array(function, "x", x)
    if not 3 <= x.ndim <= windows.MAX_DIMS + 2:
        wording = f"[batch, *spatial, channels] with 1 to {windows.MAX_DIMS} spatial dimensions"
        raise ValueError(expected(function, "x", wording, f"shape {x.shape}"))
    return x
