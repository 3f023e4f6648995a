"""Clouds of one size at one place."""

from typing import Any

import numpy as np

from jaxsparse._core import checks
from jaxsparse.data import _arguments

SHAPES = ("sphere", "cube")


def normalize_points(points: Any, to: str = "sphere") -> np.ndarray:
    """Moves and scales a cloud, all dimensions alike, until it just fits.

    Args:
      points: ``[N, d]``, d from 1 to 3.
      to: ``"sphere"``: the mean of the points goes to the origin, the farthest of them to distance 1. ``"cube"``: the
        middle of the bounding box goes to the origin, its longest side becomes [-1, 1].

    Returns:
      ``[N, d]``, float32 if the points are, else float64. Points that all coincide go to the origin.

    Raises:
      ValueError: the shape is another, a coordinate is not finite, ``to`` is unknown.
      TypeError: not numbers.

    Source: ``"sphere"`` is how PointNet (Qi et al. 2017) and ModelNet40's clouds are normalised.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> data.normalize_points(np.array([[2.0, 5.0], [6.0, 5.0]])).tolist()
      [[-1.0, 0.0], [1.0, 0.0]]
    """
    cloud = _arguments.points("normalize_points", points)
    checks.one_of("normalize_points", "to", to, SHAPES)
    if not len(cloud):
        return cloud.copy()
    exact = cloud.astype(np.float64)
    if to == "sphere":
        exact -= exact.mean(axis=0)
        size = radius(exact)
    else:
        exact -= (exact.max(axis=0) + exact.min(axis=0)) / 2
        size = np.abs(exact).max()
    return (exact / size if size > 0 else np.zeros_like(exact)).astype(cloud.dtype)


def radius(offsets: np.ndarray) -> float:
    """The length of the longest row: of numbers of any size, whose squares may be too large or too small."""
    largest = np.abs(offsets).max()
    return largest * np.sqrt(((offsets / largest) ** 2).sum(axis=1).max()) if largest > 0 else 0.0
