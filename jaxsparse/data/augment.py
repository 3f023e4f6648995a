"""Random changes to clouds of points, drawn from an explicit NumPy generator: the same generator, the same change."""

from typing import Any

import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.data import _arguments


def random_rotation(rng: np.random.Generator, axis: Any = None) -> np.ndarray:
    """A proper rotation in three dimensions, all equally likely.

    Args:
      rng: where it is drawn from.
      axis: left out: any rotation (uniform over SO(3), from a unit quaternion). 0, 1 or 2, or a vector ``[3]`` other than
        0: a rotation about it, its angle uniform over the circle.

    Returns:
      float64 ``[3, 3]`` of determinant 1; it turns a cloud by ``points @ rotation.T``.

    Raises:
      ValueError: the axis is 0, not finite, or none of the three.
      TypeError: ``rng`` is no generator.

    Source: Shoemake, "Uniform random rotations", Graphics Gems III (1992); Rodrigues' formula about an axis.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> turn = data.random_rotation(np.random.default_rng(0), axis=2)
      >>> bool(np.allclose(turn @ [0, 0, 1], [0, 0, 1]))
      True
    """
    rng = _arguments.generator("random_rotation", rng)
    if axis is None:
        quaternion = rng.standard_normal(4)
        w, x, y, z = quaternion / np.linalg.norm(quaternion)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
    x, y, z = _direction("random_rotation", axis)
    angle = rng.uniform(0, 2 * np.pi)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def _direction(function: str, axis: Any) -> np.ndarray:
    """The unit vector that an axis means."""
    wording = "0, 1, 2 or a finite vector [3] other than 0"
    if isinstance(axis, int | np.integer) and not isinstance(axis, bool) and 0 <= axis < 3:
        return np.eye(3)[axis]
    try:
        vector = np.asarray(axis, np.float64)
    except (TypeError, ValueError):
        raise TypeError(expected(function, "axis", wording, checks.described(axis))) from None
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise ValueError(expected(function, "axis", wording, repr(axis)))
    return vector / np.linalg.norm(vector)


def rotate_points(points: Any, rng: np.random.Generator, axis: Any = None) -> np.ndarray:
    """Turns a cloud about the origin by :func:`random_rotation`.

    Args:
      points: ``[N, 3]``.
      rng: where the rotation is drawn from.
      axis: as in :func:`random_rotation`: left out any rotation, else one about the axis.

    Returns:
      ``[N, 3]``, float32 if the points are, else float64.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, the axis is no axis.
      TypeError: not numbers; ``rng`` is no generator.

    Source: PointNet (Qi et al. 2017) and ILA-SCNN turn ModelNet40 about the up axis: axis 2 in the OFF files.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> cloud = np.array([[1.0, 0.0, 0.5]])
      >>> turned = data.rotate_points(cloud, np.random.default_rng(0), axis=2)
      >>> turned[0, 2], bool(np.isclose(np.linalg.norm(turned), np.linalg.norm(cloud)))
      (np.float64(0.5), True)
    """
    cloud = _arguments.points("rotate_points", points, dims=3)
    _arguments.generator("rotate_points", rng)
    if axis is not None:
        axis = _direction("rotate_points", axis)
    return (cloud.astype(np.float64) @ random_rotation(rng, axis).T).astype(cloud.dtype)


def jitter_points(
    points: Any, rng: np.random.Generator, sigma: float = 0.01, clip: float | None = 0.05
) -> np.ndarray:
    """Moves every coordinate of every point by itself, normally distributed and clipped.

    Args:
      points: ``[N, d]``, d from 1 to 3.
      rng: where the distances are drawn from.
      sigma: their standard deviation, in the points' unit.
      clip: no coordinate moves farther; ``None``: no limit.

    Returns:
      ``[N, d]``, float32 if the points are, else float64.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, ``sigma`` or ``clip`` is negative or not finite.
      TypeError: not numbers; ``rng`` is no generator.

    Source: PointNet (Qi et al. 2017); ILA-SCNN uses the same two numbers.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> moved = data.jitter_points(np.zeros((1000, 3)), np.random.default_rng(0), 0.1, clip=0.15)
      >>> bool(np.abs(moved).max() == 0.15)
      True
    """
    cloud = _arguments.points("jitter_points", points)
    rng = _arguments.generator("jitter_points", rng)
    sigma = checks.number("jitter_points", "sigma", sigma, low=0)
    moves = rng.standard_normal(cloud.shape)
    moves *= sigma
    if clip is not None:
        clip = checks.number("jitter_points", "clip", clip, low=0)
        np.clip(moves, -clip, clip, out=moves)
    return (cloud + moves).astype(cloud.dtype)


def translate_points(points: Any, rng: np.random.Generator, distance: float) -> np.ndarray:
    """Moves the whole cloud, uniformly in every dimension.

    Args:
      points: ``[N, d]``, d from 1 to 3.
      rng: where the shift is drawn from.
      distance: the farthest it goes in a dimension, in the points' unit.

    Returns:
      ``[N, d]``, float32 if the points are, else float64.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, ``distance`` is negative or not finite.
      TypeError: not numbers; ``rng`` is no generator.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> moved = data.translate_points(np.zeros((2, 3)), np.random.default_rng(0), 0.1)
      >>> bool((moved[0] == moved[1]).all() and np.abs(moved).max() <= 0.1)
      True
    """
    cloud = _arguments.points("translate_points", points)
    rng = _arguments.generator("translate_points", rng)
    distance = checks.number("translate_points", "distance", distance, low=0)
    return (cloud + rng.uniform(-distance, distance, cloud.shape[1])).astype(cloud.dtype)


def scale_points(
    points: Any, rng: np.random.Generator, low: float, high: float, *, per_axis: bool = False
) -> np.ndarray:
    """Scales a cloud about the origin by a uniformly distributed factor.

    Args:
      points: ``[N, d]``, d from 1 to 3.
      rng: where the factor is drawn from.
      low: the least factor, more than 0.
      high: the greatest.
      per_axis: every dimension has a factor of its own.

    Returns:
      ``[N, d]``, float32 if the points are, else float64.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, ``low`` is not above 0 or more than ``high``.
      TypeError: not numbers; ``rng`` is no generator.

    Source: PointNet++ (Qi et al. 2017) scales by 0.8 to 1.25.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> cloud = data.scale_points(np.ones((2, 3)), np.random.default_rng(0), 0.8, 1.25)
      >>> bool(0.8 <= cloud[0, 0] <= 1.25 and (cloud == cloud[0, 0]).all())
      True
    """
    cloud = _arguments.points("scale_points", points)
    rng = _arguments.generator("scale_points", rng)
    low = checks.number("scale_points", "low", low, low=0)
    high = checks.number("scale_points", "high", high, low=0)
    if not 0 < low <= high:
        raise ValueError(
            expected("scale_points", "low", f"above 0 and at most high = {high:g}", low)
        )
    return (cloud * rng.uniform(low, high, cloud.shape[1] if per_axis else 1)).astype(cloud.dtype)


def affine_points(points: Any, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """Multiplies a cloud by a random matrix near the identity: it is sheared, squeezed and turned a little.

    Args:
      points: ``[N, d]``, d from 1 to 3.
      rng: where the matrix is drawn from.
      sigma: the standard deviation of what is added to each entry of the identity.

    Returns:
      ``[N, d]``, float32 if the points are, else float64.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, ``sigma`` is negative or not finite.
      TypeError: not numbers; ``rng`` is no generator.

    Source: the distortions of Graham's spatially sparse networks (SparseConvNet: sigma 0.1).

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> data.affine_points(np.eye(3), np.random.default_rng(0), 0.0).tolist()
      [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    cloud = _arguments.points("affine_points", points)
    rng = _arguments.generator("affine_points", rng)
    sigma = checks.number("affine_points", "sigma", sigma, low=0)
    dims = cloud.shape[1]
    matrix = np.eye(dims) + sigma * rng.standard_normal((dims, dims))
    return (cloud @ matrix.T).astype(cloud.dtype)
