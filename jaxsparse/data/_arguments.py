"""Arguments of this room: clouds of points, boxes, generators."""

from typing import Any

import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected

MAX_DIMS = 3


def points(
    function: str, value: Any, *, dims: int | None = None, name: str = "points"
) -> np.ndarray:
    """A cloud ``[N, d]`` of finite numbers: float32 and float64 stay what they are, all else becomes float64."""
    array = np.asarray(value)
    if not np.issubdtype(array.dtype, np.floating) and not np.issubdtype(array.dtype, np.integer):
        raise TypeError(
            expected(function, name, "an array of real numbers", f"dtype {array.dtype}")
        )
    wanted = "d from 1 to 3" if dims is None else f"d = {dims}"
    if array.ndim != 2 or not (
        1 <= array.shape[1] <= MAX_DIMS if dims is None else array.shape[1] == dims
    ):
        raise ValueError(expected(function, name, f"[N, d] with {wanted}", f"shape {array.shape}"))
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(expected(function, name, "finite", f"{array[row].tolist()} in row {row}"))
    return array


def generator(function: str, value: Any) -> np.random.Generator:
    """An explicit source of randomness."""
    if not isinstance(value, np.random.Generator):
        raise TypeError(
            expected(function, "rng", "a numpy.random.Generator", checks.described(value))
        )
    return value


def grid(function: str, resolution: Any, padding: Any, dims: int) -> tuple[np.ndarray, int]:
    """The voxels of each dimension, int64 ``[d]``, and how many of them at either end stay empty."""
    sizes = checks.integers(function, "resolution", resolution, dims=dims)
    padding = checks.integer(function, "padding", padding, minimum=0)
    if min(sizes) <= 2 * padding:
        wording = f"less than half of the resolution {min(sizes)}"
        raise ValueError(expected(function, "padding", wording, padding))
    return np.array(sizes, np.int64), padding


def bounds(function: str, value: Any, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """A box ``(lower, upper)``, each a number or one a dimension: float64 ``[d]`` twice."""
    wording = "a pair (lower, upper), each a number or one a dimension, lower < upper"
    try:
        lower, upper = (np.broadcast_to(np.asarray(v, np.float64), (dims,)) for v in value)
    except (TypeError, ValueError):
        raise ValueError(expected(function, "bounds", wording, repr(value))) from None
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower < upper).all()):
        raise ValueError(expected(function, "bounds", wording, repr(value)))
    return lower, upper
