"""Which voxels a cloud of points touches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.data import _arguments
from jaxsparse.data.normalize import radius

FITS = ("cube", "sphere")


def voxelize_points(
    points: Any,
    resolution: int | Sequence[int],
    *,
    padding: int = 0,
    bounds: tuple[Any, Any] | None = None,
    fit: str | None = None,
) -> np.ndarray:
    """The voxels that hold at least one point.

    A voxel holds its lower faces, not its upper ones; the last voxel of a dimension holds its upper face, too.

    Args:
      points: ``[N, d]``, d from 1 to 3, in any unit.
      resolution: voxels of each dimension, or one number for all.
      padding: so many voxels at either end of every dimension stay empty; the box fills what lies between.
      bounds: the box ``(lower, upper)`` that fills the volume, each a number or one a dimension. Points outside of it are
        left out. The voxels need not be cubes.
      fit: a box made from the points, in place of ``bounds``; voxels are cubes and every point is inside. ``"cube"`` (the
        default): the smallest around the bounding box that the volume's proportions allow, both with one centre.
        ``"sphere"``: around the ball about the points' mean that just holds them, so that no rotation about the mean
        moves a point out of the volume.

    Returns:
      int32 ``[M, d]``: distinct voxels, ascending in row-major order, as ``SparseTensor.from_coords`` takes them (see
      :func:`batch_coords`). Points that all coincide take one voxel in the middle.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, the padding leaves no voxel, the box is empty, the
        volume has more than 2^31 - 1 voxels; ``bounds`` and ``fit`` are both given, ``fit`` is unknown.
      TypeError: not numbers; not integers.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> cloud = np.array([[0.0, 0.1], [0.9, 1.0], [0.95, 0.8], [0.5, 0.2]])
      >>> data.voxelize_points(cloud, 4, bounds=(0, 1)).tolist()
      [[0, 0], [2, 0], [3, 3]]
      >>> data.voxelize_points(cloud, 8, padding=2).min()
      np.int32(2)
    """
    name = "voxelize_points"
    cloud = _arguments.points(name, points)
    dims = cloud.shape[1]
    sizes, margin = _arguments.grid(name, resolution, padding, dims)
    if np.prod(sizes.astype(object)) > checks.LARGEST:
        wording = f"at most {checks.LARGEST} voxels in all"
        raise ValueError(expected(name, "resolution", wording, tuple(sizes.tolist())))
    if bounds is not None and fit is not None:
        raise ValueError(expected(name, "fit", "left out where bounds are given", repr(fit)))
    inner = sizes - 2 * margin
    cloud = cloud.astype(np.float64)
    if bounds is not None:
        lower, upper = _arguments.bounds(name, bounds, dims)
        edges = (upper - lower) / inner
    else:
        lower, edges = fitted_box(cloud, inner, checks.one_of(name, "fit", fit or "cube", FITS))
        upper = lower + edges * inner
    # A dimension after the other: reductions over three columns are slow in NumPy.
    keys, within = np.zeros(len(cloud), np.int64), np.ones(len(cloud), bool)
    for axis, column in enumerate(cloud.T):
        if bounds is not None:
            within &= (column >= lower[axis]) & (column <= upper[axis])
        with np.errstate(over="ignore"):
            place = np.floor((column - lower[axis]) / edges[axis])
        # Rounding may push a point over the face it lies at: it still is in the box. The upper face is the last voxel's.
        place = np.clip(place, 0, inner[axis] - 1).astype(np.int64)
        keys = keys * sizes[axis] + (place + margin)
    keys = _distinct(keys if bounds is None else keys[within], int(np.prod(sizes)))
    return np.stack(np.unravel_index(keys, tuple(sizes)), axis=1).astype(np.int32)


def _distinct(keys: np.ndarray, volume: int) -> np.ndarray:
    """Ascending, each once."""
    if volume > 64 * len(keys):
        return np.unique(keys)
    touched = np.zeros(volume, bool)
    touched[keys] = True
    return np.flatnonzero(touched)


def fitted_box(cloud: np.ndarray, inner: np.ndarray, fit: str) -> tuple[np.ndarray, np.ndarray]:
    """The lower corner of the box and the edges of its voxels."""
    if not len(cloud):
        return np.zeros(len(inner)), np.ones(len(inner))
    if fit == "cube":
        low, high = cloud.min(axis=0), cloud.max(axis=0)
        # Halves first: the sum of two large numbers may not be finite.
        centre, half = low / 2 + high / 2, high / 2 - low / 2
    else:
        centre = cloud.mean(axis=0)
        half = np.full(len(inner), radius(cloud - centre))
    edge = 2 * (half / inner).max() or 1.0
    return centre - edge * inner / 2, np.full(len(inner), edge)


def batch_coords(coords: Sequence[Any]) -> np.ndarray:
    """The coordinates of several objects in one array, in front of each row the object's number in the batch.

    Args:
      coords: integers ``[N_i, d]``, one array an object.

    Returns:
      int32 ``[sum of N_i, 1 + d]``, as ``direct.SparseTensor.from_coords`` takes them.

    Raises:
      ValueError: there is no array, one is not two-dimensional, or they differ in d.
      TypeError: one does not hold integers.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> clouds = [np.zeros((1, 3)), np.eye(3)]
      >>> data.batch_coords([data.voxelize_points(cloud, 4, bounds=(0, 1)) for cloud in clouds]).tolist()
      [[0, 0, 0, 0], [1, 0, 0, 3], [1, 0, 3, 0], [1, 3, 0, 0]]
    """
    arrays = [np.asarray(array) for array in coords]
    if not arrays:
        raise ValueError(expected("batch_coords", "coords", "at least one array", "none"))
    rows = []
    for number, array in enumerate(arrays):
        name = f"coords[{number}]"
        if array.ndim != 2 or array.shape[1] != arrays[0].shape[-1]:
            wording = f"[N, {arrays[0].shape[-1]}]" if number and arrays[0].ndim == 2 else "[N, d]"
            raise ValueError(expected("batch_coords", name, wording, f"shape {array.shape}"))
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(expected("batch_coords", name, "integers", f"dtype {array.dtype}"))
        rows.append(np.insert(array.astype(np.int32), 0, number, axis=1))
    return np.concatenate(rows)
