"""Between the containers: entries of single channels to sites of all channels, and back."""

from typing import Any

import jax.numpy as jnp

from jaxsparse import direct, voxel
from jaxsparse._core import capacity as capacities
from jaxsparse._core import entries
from jaxsparse._core.checks import expected
from jaxsparse.direct.tensor import check_tensor as check_entries
from jaxsparse.voxel import _sites
from jaxsparse.voxel.tensor import check_tensor as check_voxels


def to_voxel_tensor(x: direct.SparseTensor, capacity: int | None = None) -> voxel.VoxelTensor:
    """The ``VoxelTensor`` of the same dense array: a site is active where any channel stores an entry.

    Channels that store none there hold 0. Differentiable in reverse mode with respect to the values, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]`` of a batch of at least 1.
      capacity: rows; of too many sites the first in canonical order stay. None: room for every entry to be a site.

    Raises:
      ValueError: the batch is empty, a capacity of 0.
      TypeError: ``x`` is no ``SparseTensor``, or ``capacity`` no integer.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct, nn

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0, 0.0], [0.0, 0.0], [2.0, 3.0]]]), capacity=2)
      >>> y = nn.to_voxel_tensor(x)
      >>> y.coords.tolist()[:2], y.features.tolist()[:2]
      ([[0, 0], [0, 2]], [[1.0, 0.0], [2.0, 3.0]])
    """
    name = "to_voxel_tensor"
    check_entries(name, "x", x)
    batch, channels, slots = x.keys.shape
    if batch == 0:
        raise ValueError(expected(name, "x", "of at least one batch element", f"shape {x.shape}"))
    voxels = batch * x.volume
    rows: Any = batch * channels * slots
    capacity = capacities.resolve(name, capacity, None, volume=voxels, bound=min(rows, voxels))
    stored = entries.is_stored(x.keys, x.volume)
    number = jnp.arange(batch, dtype=jnp.int32)[:, None, None]
    element = jnp.where(stored, number, jnp.int32(batch))  # out of range: no site
    places = entries.unravel(jnp.where(stored, x.keys, 0), x.spatial_shape)
    coords = jnp.concatenate([element[..., None], places], axis=-1)
    sites, groups = _sites.sort(
        coords.reshape(rows, -1), jnp.int32(rows), batch, x.spatial_shape, capacity
    )
    channel = jnp.broadcast_to(jnp.arange(channels, dtype=jnp.int32)[None, :, None], x.keys.shape)
    features = (
        jnp.zeros((capacity, channels), x.dtype)
        .at[groups.row_of, channel.reshape(rows)]
        .add(jnp.where(stored, x.values, 0).reshape(rows), mode="drop")
    )
    return voxel.VoxelTensor(sites.coords, features, sites.count, batch, x.spatial_shape)


def to_sparse_tensor(x: voxel.VoxelTensor, capacity: int | None = None) -> direct.SparseTensor:
    """The ``SparseTensor`` of the same dense array: every channel stores an entry at every active site, also a 0.

    Differentiable in reverse mode with respect to the features, to any order.

    Args:
      x: :class:`jaxsparse.voxel.VoxelTensor` without background.
      capacity: entries that a (batch element, channel) may store; None: ``min(N, volume)``. What does not fit raises
        outside ``jit`` and is cut by magnitude inside.

    Raises:
      ValueError: ``x`` has a background, a capacity of 0.
      TypeError: ``x`` is no ``VoxelTensor``, or ``capacity`` no integer.

    Example::

      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 1]], [[5.0, 0.0]], batch_size=1, spatial_shape=(3,))
      >>> nn.to_sparse_tensor(x).keys.tolist()
      [[[1], [1]]]
    """
    name = "to_sparse_tensor"
    check_voxels(name, "x", x)
    if x.background is not None:
        wording = "without background (x.without_background() drops it)"
        raise ValueError(expected(name, "x", wording, "one with background"))
    capacity, _ = capacities.check(name, capacity, None)
    return direct.SparseTensor.from_coords(
        x.coords, x.features, batch_size=x.batch_size, spatial_shape=x.spatial_shape,
        capacity=capacity, count=jnp.sum(x.in_use(), dtype=jnp.int32),
    )  # fmt: skip
