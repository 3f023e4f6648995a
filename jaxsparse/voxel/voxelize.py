"""Points in space to voxels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, explicit_axes, rows
from jaxsparse._core.checks import expected
from jaxsparse.voxel import _build, _grid, _sites
from jaxsparse.voxel.tensor import VoxelTensor

MERGES = ("mean", "sum", "max")


class Voxelized(NamedTuple):
    """What :func:`voxelize` returns.

    Attributes:
      voxels: :class:`VoxelTensor` of the voxels that hold a point.
      rows: int32 ``[P]``, the row of each point's voxel; the capacity for points outside of the bounds, padding, and
        points of voxels that the capacity cut.
      dropped: int32 ``[]``, how many points lie outside of the bounds or in no batch element.
    """

    voxels: VoxelTensor
    rows: jax.Array
    dropped: jax.Array


def voxelize(
    points: jax.typing.ArrayLike,
    features: jax.typing.ArrayLike,
    *,
    bounds: tuple[float | Sequence[float], float | Sequence[float]],
    edge: float | Sequence[float],
    batch: jax.typing.ArrayLike | None = None,
    batch_size: int = 1,
    capacity: int | None = None,
    merge: str = "mean",
    background: jax.typing.ArrayLike | None = None,
    count: jax.typing.ArrayLike | None = None,
) -> Voxelized:
    """Points inside a box to the voxels that hold them, features merged voxel by voxel.

    A point is in voxel ``floor((point - lower) * (1 / edge))``, computed in the type of the points (float32 at least);
    points outside of the box, and those with a NaN, are dropped and counted, inside ``jit`` and out. Everything but the box
    may be traced. Differentiable with respect to features and background, in reverse mode to any order; the order of
    summation is that of the points.

    Args:
      points: float ``[P, d]``, d from 1 to 4, in the units of ``bounds``.
      features: float ``[P, C]``.
      bounds: ``(lower, upper)``, each a number or one a dimension, a whole number of edges apart.
      edge: the edge of a voxel, or one a dimension.
      batch: int32 ``[P]``, the batch element of each point; None: all are of element 0.
      batch_size: batch elements.
      capacity: rows of the list; None: ``min(P, batch_size * volume)``. Of too many voxels the first in canonical order
        stay; ``voxels.count`` says how many there were.
      merge: what several points of a voxel make: ``"mean"``, ``"sum"`` or ``"max"`` (of each channel; NaN is the largest, the
        gradient goes to the first of equal ones).
      background: float ``[C]``, the ground state; None: there is none.
      count: an integer, possibly traced: points from there on are padding. None: all points count.

    Returns:
      :class:`Voxelized`: the voxels, the row of each point, and how many points were dropped.

    Raises:
      ValueError: wrong ranks or shapes; bounds that hold no whole number of voxels; more than 2^31 - 1 voxels.
      TypeError: wrong dtypes; bounds or edges that are not known at trace time.

    Source: the voxel layers of today's LiDAR networks (VoxelNet, Zhou and Tuzel, 2018; MinkowskiEngine's quantisation).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> cloud = jnp.array([[0.1, -0.9], [0.2, -0.6], [1.4, 0.3], [7.0, 0.0]])
      >>> found = voxel.voxelize(
      ...     cloud, jnp.array([[1.0], [3.0], [5.0], [9.0]]), bounds=((0, -1), (2, 1)), edge=0.5
      ... )
      >>> found.voxels.coords[:2].tolist(), found.voxels.features[:2, 0].tolist()
      ([[0, 0, 0], [0, 2, 2]], [2.0, 5.0])
      >>> found.rows.tolist(), int(found.dropped), found.voxels.spatial_shape
      ([0, 0, 1, 4], 1, (4, 4))
    """
    name = "voxelize"
    checks.one_of(name, "merge", merge, MERGES)
    points = _grid.positions(name, points)
    features = checks.float_array(name, "features", features)
    number: Any = points.shape[0]
    if features.ndim != 2 or features.shape[0] != number or features.shape[1] == 0:
        wording = f"of shape [P, C] with P = {number}, the number of points"
        raise ValueError(expected(name, "features", wording, f"shape {features.shape}"))
    edge = _grid.edges(name, edge, points.shape[1])
    lower, shape = _grid.box(name, bounds, edge)
    batch_size = checks.integer(name, "batch_size", batch_size, minimum=1)
    batch = _grid.elements(name, batch, points)
    ground = _build.background_of(name, background, features)
    used = rows.count_argument(name, count, number)
    voxels = batch_size * _sites.volume(shape)
    if capacity is None and not isinstance(number, int):  # symbolic
        capacity = number
    else:
        bound = 0 if capacity is not None else min(number, voxels)
        capacity = capacities.resolve(name, capacity, None, volume=voxels, bound=bound)
    points, features, batch = explicit_axes.replicate(points, features, batch)
    place = jnp.floor(_grid.scaled(jax.lax.stop_gradient(points), lower, edge))
    here = _grid.inside(place, shape) & (batch >= 0) & (batch < batch_size)
    counted = jnp.arange(number, dtype=jnp.int32) < used
    dropped = jnp.sum(~here & counted, dtype=jnp.int32)
    coords = jnp.concatenate([batch[:, None], place.astype(jnp.int32)], axis=1)
    coords = jnp.where(here[:, None], coords, -1)
    sites, groups = _sites.sort(coords, used, batch_size, shape, capacity)
    merged = _build.merged(features, groups, merge)
    tensor = VoxelTensor(sites.coords, merged, sites.count, batch_size, shape, ground)
    return Voxelized(tensor, groups.row_of, dropped)
