"""Where points in space lie among voxels: the arguments that say so, and the arithmetic."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected

SLACK = 1e-4
"""By how much of a voxel bounds may miss a whole number of voxels: decimal fractions are none in binary."""


def positions(function: str, points: Any, dims: int | None = None) -> jax.Array:
    """Points ``[P, d]`` as an array of at least float32."""
    points = checks.float_array(function, "points", points)
    if points.ndim != 2 or not (
        points.shape[1] == dims or (dims is None and 1 <= points.shape[1] <= 4)
    ):
        wording = "of shape [P, d] with d from 1 to 4" if dims is None else f"of shape [P, {dims}]"
        raise ValueError(expected(function, "points", wording, f"shape {points.shape}"))
    return points if points.dtype == jnp.float64 else points.astype(jnp.float32)


def elements(function: str, batch: Any, points: jax.Array) -> jax.Array:
    """The batch element of each point, int32 ``[P]``; None: 0."""
    if batch is None:
        return jnp.zeros(points.shape[:1], jnp.int32)
    batch = checks.int32_array(function, "batch", batch)
    checks.shape(function, "batch", batch, points.shape[:1], "one a point")
    return batch


def numbers(function: str, argument: str, value: Any, dims: int) -> tuple[float, ...]:
    """A finite number for all dimensions, or one for each."""
    if isinstance(value, str | bytes) or not checks.is_sequence(value):
        return (checks.number(function, argument, value),) * dims
    if len(value) != dims:
        wording = f"a number or {dims} of them (one a spatial dimension)"
        raise ValueError(expected(function, argument, wording, tuple(value)))
    return tuple(checks.number(function, f"{argument}[{i}]", v) for i, v in enumerate(value))


def edges(function: str, value: Any, dims: int) -> tuple[float, ...]:
    """The edges of a voxel, positive."""
    found = numbers(function, "edge", value, dims)
    if min(found) <= 0:
        raise ValueError(expected(function, "edge", "positive", value))
    return found


def box(
    function: str, bounds: Any, edge: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The lower corner of the bounds, and how many voxels lie between it and the upper one."""
    dims = len(edge)
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise ValueError(expected(function, "bounds", "a pair (lower, upper)", repr(bounds)))
    lower, upper = (numbers(function, f"bounds[{i}]", b, dims) for i, b in enumerate(bounds))
    counts = [(high - low) / e for low, high, e in zip(lower, upper, edge, strict=True)]
    whole = [round(n) for n in counts]
    if any(n < 1 or abs(m - n) > SLACK for m, n in zip(counts, whole, strict=True)):
        wording = f"a whole, positive number of edges {edge} apart"
        raise ValueError(expected(function, "bounds", wording, f"{tuple(counts)} of them"))
    return lower, windows.spatial_shape(function, tuple(whole))


def scaled(points: jax.Array, lower: tuple[float, ...], edge: tuple[float, ...]) -> jax.Array:
    """Points in units of voxels from the lower corner on."""
    inverse = 1 / np.asarray(edge, np.float64)
    kind = points.dtype
    return (points - jnp.asarray(lower, kind)[None]) * jnp.asarray(inverse, kind)[None]


def inside(place: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """bool ``[P]``: which whole numbers ``[P, d]`` are voxels; NaN is none."""
    return jnp.all((place >= 0) & (place < jnp.asarray(shape, place.dtype)[None]), axis=1)


def keys(place: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Row-major numbers, int32 ``[P]``, of voxels that are inside."""
    key = jnp.zeros(place.shape[:1], jnp.int32)
    for axis, size in enumerate(shape):
        key = key * size + place[:, axis].astype(jnp.int32)
    return key
