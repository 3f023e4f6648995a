"""One list into one for each device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, explicit_axes, rows
from jaxsparse._core.checks import expected
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def split(x: VoxelTensor, parts: int, *, capacity: int | None = None) -> VoxelTensor:
    """The lists of equal parts of the batch, with a leading axis: for ``shard_map`` over it.

    Part ``p`` has batch elements ``p * batch_size / parts`` and on, numbered from 0. ``shard_map`` shares out the leading
    axis, and each device takes its list from it: ``jax.tree.map(lambda a: a[0], x)``. Differentiable with respect to
    features and background.

    Args:
      x: :class:`VoxelTensor` of the whole batch.
      parts: how many; it divides ``x.batch_size``.
      capacity: rows of each list; None: those of ``x``. Of too many the first in canonical order stay.

    Returns:
      :class:`VoxelTensor` with ``coords`` ``[parts, M, 1 + d]``, ``features`` ``[parts, M, C]``, ``count`` ``[parts]`` and,
      where there is one, ``background`` ``[parts, C]``: the sites of each part among those that ``x`` holds.

    Raises:
      ValueError: ``parts`` does not divide the batch; numbers out of range.
      TypeError: what should be integers is not, ``x`` is no ``VoxelTensor``.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 1], [2, 0], [3, 1]], [[1.0], [2.0], [3.0]], batch_size=4, spatial_shape=(2,)
      ... )
      >>> halves = voxel.split(x, 2, capacity=2)
      >>> halves.coords.tolist(), halves.count.tolist()
      ([[[0, 1], [2, 0]], [[0, 0], [1, 1]]], [1, 2])
      >>> halves.features[..., 0].tolist()
      [[1.0, 0.0], [2.0, 3.0]]
    """
    check_tensor("split", "x", x)
    parts = checks.integer("split", "parts", parts, minimum=1)
    if x.batch_size % parts:
        wording = f"a divisor of the batch size, {x.batch_size}"
        raise ValueError(expected("split", "parts", wording, parts))
    number: Any = x.coords.shape[0]
    capacity = capacities.resolve("split", capacity, None, volume=number, bound=number)
    coords, features = explicit_axes.replicate(x.coords, x.features)
    limits = (x.batch_size, *x.spatial_shape)
    coords, features, count = _split(limits, parts, capacity, coords, features)
    background = x.background
    if background is not None:
        background = jnp.broadcast_to(background, (parts, *background.shape))
    each = x.batch_size // parts
    return VoxelTensor(coords, features, count, each, x.spatial_shape, background)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _split(limits, parts: int, capacity: int, coords: jax.Array, features: jax.Array):
    shared = rows.parts_of(coords, limits, parts, capacity)
    nothing = jnp.zeros((), features.dtype)
    features = jnp.where(shared.mine[..., None], features[shared.source], nothing)
    return shared.rows, features, shared.count
