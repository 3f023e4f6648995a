"""Voxels to points in space."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks, explicit_axes
from jaxsparse.voxel import _grid, _lookup
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor

METHODS = ("linear", "nearest")


def devoxelize(
    x: VoxelTensor,
    points: jax.typing.ArrayLike,
    *,
    lower: float | Sequence[float] = 0.0,
    edge: float | Sequence[float] = 1.0,
    batch: jax.typing.ArrayLike | None = None,
    method: str = "linear",
) -> jax.Array:
    """Features of voxels at points: the dense volume, continued by the ground state on all sides, interpolated.

    The value of a voxel is that of its centre, ``lower + (voxel + 0.5) * edge``. ``"linear"`` interpolates between the ``2^d``
    centres around a point, inactive ones with the background's value (0 without one); ``"nearest"`` takes the voxel that
    holds the point. To divide by the active weights only, devoxelize ones as well and divide. No dense volume is made: rows
    are found by binary search; memory is O(2^d P) numbers and O(P C) features at a time.

    Differentiable in reverse mode, to any order, with respect to features, background and, by ``"linear"``, points; sums of
    the gradient have a fixed order.

    Args:
      x: :class:`VoxelTensor`.
      points: float ``[P, d]``.
      lower: the lower corner of the volume, or one number for all dimensions, in the units of the points.
      edge: the edge of a voxel, or one a dimension. After a convolution with stride 2 and no padding in front: twice that
        of before.
      batch: int32 ``[P]``, the batch element of each point; None: all are of element 0. Points of no batch element are
        outside.
      method: ``"linear"`` or ``"nearest"``.

    Returns:
      ``[P, C]`` of the dtype of ``x``, computed in float32 (float64 for float64). By ``"linear"`` a point with a NaN or an
      infinity gets NaN, by ``"nearest"`` it is outside.

    Raises:
      ValueError: wrong ranks or shapes, edges that are not positive.
      TypeError: wrong dtypes; ``x`` is no ``VoxelTensor``.

    Source: trilinear devoxelisation of PVCNN (Liu et al., 2019) and SPVNAS (Tang et al., 2020); here inactive corners count
    with the ground state.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 1], [0, 2]], [[4.0], [8.0]], batch_size=1, spatial_shape=(4,)
      ... )
      >>> at = jnp.array([[1.5], [2.0], [2.25], [3.0], [9.0]])
      >>> voxel.devoxelize(x, at).ravel().tolist()
      [4.0, 6.0, 7.0, 4.0, 0.0]
      >>> voxel.devoxelize(x, at, method="nearest").ravel().tolist()
      [4.0, 8.0, 8.0, 0.0, 0.0]
    """
    name = "devoxelize"
    check_tensor(name, "x", x)
    checks.one_of(name, "method", method, METHODS)
    dims = len(x.spatial_shape)
    points = _grid.positions(name, points, dims)
    corner = _grid.numbers(name, "lower", lower, dims)
    edge = _grid.edges(name, edge, dims)
    batch = _grid.elements(name, batch, points)
    coords, features, points, batch = explicit_axes.replicate(x.coords, x.features, points, batch)
    kind = jnp.float64 if features.dtype == jnp.float64 else jnp.float32
    features = features.astype(kind)
    ground = jnp.zeros((x.channels,), kind) if x.background is None else x.background.astype(kind)
    index = _lookup.Index(x.replace(coords=coords))

    def at(place: jax.Array) -> jax.Array:
        row = index.find(batch, jax.lax.stop_gradient(place))
        found = (row < index.capacity)[:, None]
        return jnp.where(found, _lookup.take(features, row), ground[None])

    place = _grid.scaled(points, corner, edge)
    if method == "nearest":
        return at(jnp.floor(place)).astype(x.dtype)
    place = place - np.asarray(0.5, place.dtype)
    low = jax.lax.stop_gradient(jnp.floor(place))
    above = (place - low).astype(kind)
    total = jnp.zeros((points.shape[0], x.channels), kind)
    for offsets in itertools.product((0, 1), repeat=dims):
        weight = jnp.ones(points.shape[:1], kind)
        for axis, up in enumerate(offsets):
            weight = weight * (above[:, axis] if up else 1 - above[:, axis])
        total = total + weight[:, None] * at(low + jnp.asarray(offsets, low.dtype)[None])
    return total.astype(x.dtype)
