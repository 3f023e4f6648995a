"""Pooling of all sites of a batch element into one row."""

import jax
import jax.numpy as jnp

from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel import _pooling
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def global_max_pool(x: VoxelTensor) -> jax.Array:
    """The maximum of each batch element and channel.

    With a ground state inactive sites take part with the background's value, without one only active sites do, and a batch
    element without any has 0. NaN is a maximum. The gradient goes to the maximum, among equal ones to the first active
    site, before the background. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor` ``[batch, *spatial, channels]``.

    Returns:
      A dense array ``[batch, channels]`` of the dtype of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``.
      ValueError: its arrays do not fit together.

    Source: :func:`max_pool` with one window over the whole volume.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1]], [[-1.0], [-3.0]], batch_size=2, spatial_shape=(4,)
      ... )
      >>> voxel.global_max_pool(x).tolist()
      [[-1.0], [0.0]]
      >>> voxel.global_max_pool(x.replace(background=jnp.full(1, -2.0))).tolist()
      [[-1.0], [-2.0]]
    """
    check_tensor("global_max_pool", "x", x)
    batch = _pooling.batch_of(x)
    largest = _pooling.batch_maximum(x.features, batch, x.batch_size)
    if x.background is None:
        return largest
    active = active_sites(batch, x.batch_size)
    ground = jnp.broadcast_to(x.background, largest.shape)
    above = (ground > largest) | (jnp.isnan(ground) & ~jnp.isnan(largest))
    return jnp.where((active == 0) | ((active < x.volume) & above), ground, largest)


def global_avg_pool(x: VoxelTensor) -> jax.Array:
    """The mean of each batch element and channel.

    With a ground state it is the mean over all voxels, inactive ones counting with the background's value; without one
    over the active sites, and a batch element without any has 0. Summed in float64 in a fixed order. Differentiable in
    reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor` ``[batch, *spatial, channels]``.

    Returns:
      A dense array ``[batch, channels]`` of the dtype of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``.
      ValueError: its arrays do not fit together.

    Source: :func:`avg_pool` with one window over the whole volume.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1]], [[-1.0], [-3.0]], batch_size=2, spatial_shape=(4,)
      ... )
      >>> voxel.global_avg_pool(x).tolist()
      [[-2.0], [0.0]]
      >>> voxel.global_avg_pool(x.replace(background=jnp.ones(1))).tolist()
      [[-0.5], [1.0]]
    """
    check_tensor("global_avg_pool", "x", x)
    batch = _pooling.batch_of(x)
    dtype = wide_dtype(x.dtype)
    total = _pooling.batch_total(x.features, batch, x.batch_size)
    active = active_sites(batch, x.batch_size)
    if x.background is None:
        return (total / jnp.maximum(active, 1).astype(dtype)).astype(x.dtype)
    # As a share: the sum itself may be too large a number for the active part to count in it.
    share = (x.volume - active).astype(dtype) / jnp.asarray(x.volume, dtype)
    mean = total / jnp.asarray(x.volume, dtype) + share * x.background.astype(dtype)[None]
    return mean.astype(x.dtype)


def active_sites(batch: jax.Array, batch_size: int) -> jax.Array:
    """int32 ``[B, 1]``: the active sites of each batch element. ``batch`` ascends."""
    edges = jnp.arange(batch_size + 1, dtype=jnp.int32)
    before = jnp.searchsorted(batch, edges, side="left").astype(jnp.int32)
    return (before[1:] - before[:-1])[:, None]
