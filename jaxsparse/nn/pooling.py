"""Pooling and unpooling, over sparse containers and dense channels-last arrays alike."""

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct, voxel
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.direct.tensor import check_tensor
from jaxsparse.nn.arguments import Activation, no_capacity, no_plan, same_kind


def max_pool(
    x: Activation,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    padding: windows.Padding | None = None,
    capacity: int | None = None,
    plan: voxel.KernelMap | None = None,
) -> Activation:
    """Maximum over windows that start at multiples of the stride and are cut at the end; over those of ``voxel.max_pool``.

    Args:
      x: a ``SparseTensor`` (the maximum over its *stored* entries), an array ``[batch, *spatial, channels]`` (the
        maximum over all voxels), or a ``VoxelTensor``. After a ReLU the first two agree.
      window_shape: an integer or one for each spatial dimension.
      strides: likewise; the window itself if left out.
      padding: of a ``VoxelTensor`` and of arrays, as in ``lax.reduce_window``. Left out: ``"VALID"`` for a
        ``VoxelTensor``; arrays are padded at the end, so that the last window is cut.
      capacity: entries an output channel may store, see :func:`jaxsparse.direct.max_pool`, or rows, see
        :func:`jaxsparse.voxel.max_pool`. Sparse input only.
      plan: for a ``VoxelTensor`` only, see :func:`jaxsparse.voxel.plan`.

    Returns:
      The same kind as ``x``, with ``ceil(n / stride)`` voxels a spatial dimension unless there is a padding.

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
    if isinstance(x, voxel.VoxelTensor):
        padding = "VALID" if padding is None else padding
        return voxel.max_pool(
            x, window_shape, strides, padding=padding, capacity=capacity, plan=plan
        )
    no_plan("max_pool", x, plan=plan)
    if isinstance(x, direct.SparseTensor):
        no_plan("max_pool", x, padding=padding)
        _geometry("max_pool", x, window_shape, strides)
        return direct.max_pool(x, window_shape, strides, capacity=capacity)
    no_capacity("max_pool", capacity)
    x = checks.float_array("max_pool", "x", x)
    if padding is not None:
        return _padded("max_pool", x, window_shape, strides, padding, -np.inf, jax.lax.max)[0]
    g = _geometry("max_pool", x, window_shape, strides)
    # A tracer in place of NumPy's number would hide the maximum from autodiff.
    return _reduce_windows(x, g, np.array(-np.inf, x.dtype), jax.lax.max)


def avg_pool(
    x: Activation,
    window_shape: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    padding: windows.Padding | None = None,
    capacity: int | None = None,
    plan: voxel.KernelMap | None = None,
) -> Activation:
    """Mean over windows that start at multiples of the stride and are cut at the end; over those of ``voxel.avg_pool``.

    Args:
      x: a ``SparseTensor`` (the mean of its *stored* entries), an array ``[batch, *spatial, channels]`` (the mean of
        all voxels of the window that lie inside), or a ``VoxelTensor``. Where everything is stored all agree.
      window_shape: an integer or one for each spatial dimension.
      strides: likewise; the window itself if left out.
      padding: as in :func:`max_pool`; of arrays, zeros that count.
      capacity: entries an output channel may store, see :func:`jaxsparse.direct.avg_pool`, or rows, see
        :func:`jaxsparse.voxel.avg_pool`. Sparse input only.
      plan: for a ``VoxelTensor`` only, see :func:`jaxsparse.voxel.plan`.

    Returns:
      The same kind as ``x``, with ``ceil(n / stride)`` voxels a spatial dimension unless there is a padding.

    Raises:
      TypeError: ``window_shape`` or ``strides`` are no integers.
      ValueError: they do not fit the spatial dimensions, or ``capacity`` came with an array.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.avg_pool(jnp.arange(5.0).reshape(1, 5, 1), 2).ravel().tolist()
    [0.5, 2.5, 4.0]
    """
    if isinstance(x, voxel.VoxelTensor):
        padding = "VALID" if padding is None else padding
        return voxel.avg_pool(
            x, window_shape, strides, padding=padding, capacity=capacity, plan=plan
        )
    no_plan("avg_pool", x, plan=plan)
    if isinstance(x, direct.SparseTensor):
        no_plan("avg_pool", x, padding=padding)
        _geometry("avg_pool", x, window_shape, strides, listed=True)
        return direct.avg_pool(x, window_shape, strides, capacity=capacity)
    no_capacity("avg_pool", capacity)
    x = checks.array("avg_pool", "x", x)
    dtype = wide_dtype(x.dtype)
    if padding is not None:
        total, size = _padded(
            "avg_pool", x.astype(dtype), window_shape, strides, padding, 0, jax.lax.add
        )
        return (total / jnp.asarray(size, dtype)).astype(x.dtype)
    g = _geometry("avg_pool", x, window_shape, strides)
    total = _reduce_windows(x.astype(dtype), g, np.zeros((), dtype), jax.lax.add)
    voxels = np.ones((), dtype)
    for n, o, w, s in zip(*g, strict=True):
        starts = np.arange(o) * s
        voxels = np.multiply.outer(voxels, np.minimum(starts + w, n) - starts)
    return (total / voxels.astype(dtype)[None, ..., None]).astype(x.dtype)


def global_max_pool(x: Activation) -> jax.Array:
    """The maximum of each (batch element, channel): ``[batch, channels]``.

    Args:
      x: a ``SparseTensor`` (the maximum of its *stored* entries, 0 where there is none), a ``VoxelTensor`` (of its active
        sites, with a background of all voxels) or an array ``[batch, *spatial, channels]`` (of all voxels).

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.global_max_pool(jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[4.0, 5.0]]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.global_max_pool(x)
    if isinstance(x, voxel.VoxelTensor):
        return voxel.global_max_pool(x)
    x, axes = _spatial_axes("global_max_pool", x)
    return jnp.max(x, axes)


def global_avg_pool(x: Activation) -> jax.Array:
    """The mean of each (batch element, channel): ``[batch, channels]``.

    Args:
      x: a ``SparseTensor`` (the mean of its *stored* entries, 0 where there is none), a ``VoxelTensor`` (of its active
        sites, with a background of all voxels) or an array ``[batch, *spatial, channels]`` (of all voxels).

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.global_avg_pool(jnp.arange(6.0).reshape(1, 3, 2)).tolist()
    [[2.0, 3.0]]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.global_avg_pool(x)
    if isinstance(x, voxel.VoxelTensor):
        return voxel.global_avg_pool(x)
    x, axes = _spatial_axes("global_avg_pool", x)
    return jnp.mean(x, axes)


def unpool(
    x: Activation,
    onto: Activation,
    strides: int | Sequence[int] | None = None,
    *,
    padding: windows.Padding | None = None,
    plan: voxel.KernelMap | None = None,
) -> Activation:
    """The values of ``x`` at the nearest finer voxels: each of ``onto`` gets that of ``coordinate // strides``.

    Args:
      x: what is spread: a ``SparseTensor``, a ``VoxelTensor``, or an array ``[batch, *spatial, channels]``.
      onto: the same kind as ``x``. A ``SparseTensor`` gives keys, counts and capacity of the result, a ``VoxelTensor`` its
        sites; of an array only the spatial shape counts.
      strides: an integer or one for each spatial dimension; the smallest between the two shapes if left out.
      padding: for a ``VoxelTensor`` only, that of the pooling; left out: ``"VALID"``.
      plan: for a ``VoxelTensor`` only, see :func:`jaxsparse.voxel.plan`.

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
    if isinstance(x, voxel.VoxelTensor):
        padding = "VALID" if padding is None else padding
        return voxel.unpool(x, cast(voxel.VoxelTensor, onto), strides, padding=padding, plan=plan)
    no_plan("unpool", x, padding=padding, plan=plan)
    if isinstance(x, direct.SparseTensor):
        return direct.unpool(x, cast(direct.SparseTensor, onto), strides)
    y, target = checks.array("unpool", "x", x), checks.array("unpool", "onto", onto)
    coarse = windows.dense_spatial_shape("unpool", y.shape)
    if target.ndim != y.ndim:
        wording = f"of rank {y.ndim} as x"
        raise ValueError(expected("unpool", "onto", wording, f"shape {target.shape}"))
    g = windows.unpooling("unpool", target.shape[1:-1], coarse, strides)
    for axis, (n, stride) in enumerate(zip(g.spatial_shape, g.strides, strict=True), start=1):
        y = jnp.take(y, np.arange(n) // stride, axis=axis)
    return y


def _geometry(
    function: str, x: Activation, window_shape: Any, strides: Any, *, listed: bool = False
) -> windows.Pooling:
    """See :func:`windows.pooling`; of a ``SparseTensor`` too, so that errors say ``window_shape``."""
    if isinstance(x, direct.SparseTensor):
        check_tensor(function, "x", x)
        shape = x.spatial_shape
    else:
        shape = windows.dense_spatial_shape(function, x.shape)
    return windows.pooling(
        function, shape, window_shape, strides, argument="window_shape", listed=listed
    )


def _reduce_windows(
    x: jax.Array, g: windows.Pooling, start: np.ndarray, combine: Callable[..., jax.Array]
) -> jax.Array:
    ends = [(0, max(0, (o - 1) * s + w - n)) for n, o, w, s in zip(*g, strict=True)]
    return jax.lax.reduce_window(
        x, start, combine, (1, *g.window, 1), (1, *g.strides, 1), [(0, 0), *ends, (0, 0)]
    )


def _padded(
    function: str, x: jax.Array, window_shape: Any, strides: Any, padding: Any, start: float,
    combine: Callable[..., jax.Array],
) -> tuple[jax.Array, int]:  # fmt: skip
    """Windows of the padded array, and how many voxels they have."""
    shape = windows.dense_spatial_shape(function, x.shape)
    window = checks.integers(function, "window_shape", window_shape, dims=len(shape))
    strides = window if strides is None else strides
    g = windows.convolution(function, shape, window, strides, padding, 1, argument="window_shape")
    pads = [(0, 0), *g.padding, (0, 0)]
    y = jax.lax.reduce_window(
        x, np.array(start, x.dtype), combine, (1, *window, 1), (1, *g.strides, 1), pads
    )
    return y, math.prod(window)


def _spatial_axes(function: str, x: Any) -> tuple[jax.Array, tuple[int, ...]]:
    """A dense array, checked, and which of its axes are spatial."""
    x = checks.array(function, "x", x)
    return x, tuple(range(1, 1 + len(windows.dense_spatial_shape(function, x.shape))))
