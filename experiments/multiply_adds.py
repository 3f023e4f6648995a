"""Counting the multiply-adds that a direct convolution has to do: stored entries that meet live weights."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct
from jaxsparse._core import windows


def meetings(
    x: direct.SparseTensor,
    kernel_size: tuple[int, ...],
    *,
    strides: Any = 1,
    padding: windows.Padding = "SAME",
    kernel_dilation: Any = 1,
    counts: jax.Array | None = None,
) -> jax.Array:
    """How many stored entries of each input channel each tap of a kernel takes to a voxel of the output.

    Args:
      x: the input, as a producer of this library makes it.
      kernel_size: extents of the kernel.
      strides: as of ``direct.conv``.
      padding: as of ``direct.conv``.
      kernel_dilation: as of ``direct.conv``.
      counts: bool ``[batch]``, which batch elements count; all of them if left out.

    Returns:
      int32 ``[*kernel_size, in]``, summed over the batch.
    """
    where = windows.convolution(
        "meetings", tuple(x.spatial_shape), kernel_size, strides, padding, kernel_dilation
    )
    slots = jnp.arange(x.capacity, dtype=jnp.int32)[None, None]
    stored = slots < x.stored[..., None]
    if counts is not None:
        stored &= counts[:, None, None]
    coords = x.coords()

    # Tap k takes input i to output (i + padding - k * dilation) / stride, axis by axis.
    def inside(axis: int, tap: int) -> jax.Array:
        at = coords[..., axis] + (where.padding[axis][0] - tap * where.dilation[axis])
        stride = where.strides[axis]
        return (at >= 0) & (at % stride == 0) & (at // stride < where.out_shape[axis])

    reached = [[inside(axis, tap) for tap in range(k)] for axis, k in enumerate(kernel_size)]
    hits = []
    for tap in itertools.product(*map(range, kernel_size)):
        here = stored
        for axis, index in enumerate(tap):
            here &= reached[axis][index]
        hits.append(jnp.sum(here, axis=(0, 2), dtype=jnp.int32))
    return jnp.stack(hits).reshape(*kernel_size, x.channels)


def multiply_adds(met: Any, mask: Any) -> int:
    """Products of an entry with a live weight.

    Args:
      met: integers ``[*kernel_size, in]``, of :func:`meetings`.
      mask: ``[*kernel_size, in, out]``, True = alive, or ``[*kernel_size, in]``: how many of the output channels are.
    """
    met, mask = np.asarray(met, np.int64), np.asarray(mask, np.int64)
    live = mask if mask.ndim == met.ndim else mask.sum(axis=-1)
    return int((met * live).sum())
