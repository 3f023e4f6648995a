"""From what users have (points, dense arrays) to sites and features.

Everything may be traced. What can only be known from contents (duplicates, points out of range) is an error where contents
are known, and follows the documented rule where they are not.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, explicit_axes, rows, windows
from jaxsparse._core.checks import LARGEST, concrete, expected
from jaxsparse.voxel import _merge, _sites
from jaxsparse.voxel._merge import Groups
from jaxsparse.voxel._sites import Sites

DUPLICATES = ("error", "sum", "mean", "max")


def from_coords(
    coords: Any, features: Any, batch_size: Any, spatial_shape: Any, capacity: Any, duplicates: Any,
    background: Any, count: Any,
) -> tuple[Sites, jax.Array, jax.Array | None]:  # fmt: skip
    """See ``VoxelTensor.from_coords``."""
    name = "from_coords"
    checks.one_of(name, "duplicates", duplicates, DUPLICATES)
    features = checks.float_array(name, "features", features)
    sites, groups = sorted_rows(name, coords, batch_size, spatial_shape, capacity, count)
    number = groups.row_of.shape[0]
    if features.ndim != 2 or features.shape[0] != number or features.shape[1] == 0:
        wording = f"of shape [N, C] with N = {number}, the rows of coords"
        raise ValueError(expected(name, "features", wording, f"shape {features.shape}"))
    background = background_of(name, background, features)
    repeated = concrete(groups.starts)
    if duplicates == "error" and repeated is not None:
        _check_distinct(name, coords, groups)
    (features,) = explicit_axes.replicate(features)
    return sites, merged(features, groups, duplicates), background


def merged(features: jax.Array, groups: Groups, duplicates: str) -> jax.Array:
    """Features ``[M, C]`` of the sites that rows ``[N, C]`` make."""
    if duplicates == "max":
        return _merge.maximum(features, groups)
    return _merge.merge(features, groups, mean=duplicates == "mean")


def sorted_rows(
    name: str, coords: Any, batch_size: Any, spatial_shape: Any, capacity: Any, count: Any
) -> tuple[Sites, Groups]:
    """The sites of rows in any order, and which rows make a site; raises where contents are known and outside."""
    shape = windows.spatial_shape(name, spatial_shape)
    batch_size = checks.integer(name, "batch_size", batch_size, minimum=1)
    given, coords = coords, rows.coords_argument(name, coords, len(shape))
    number: Any = coords.shape[0]
    (coords,) = explicit_axes.replicate(coords)
    used = rows.count_argument(name, count, number)
    limits = (batch_size, *shape)
    rows.check_inside(name, given, rows.outside(coords, used, limits), limits)
    capacity = _capacity(name, capacity, number, batch_size * math.prod(shape))
    return _sites.sort(coords, used, batch_size, shape, capacity)


def _capacity(name: str, capacity: Any, number: Any, voxels: int) -> Any:
    if capacity is None and not isinstance(number, int):  # symbolic
        return number
    bound = 0 if capacity is not None else min(number, voxels)
    return capacities.resolve(name, capacity, None, volume=voxels, bound=bound)


def background_of(name: str, background: Any, features: jax.Array) -> jax.Array | None:
    """The ground state ``[C]``, or None."""
    if background is None:
        return None
    background = checks.float_array(name, "background", background)
    checks.shape(name, "background", background, features.shape[-1:], "a number for each channel")
    checks.same_dtype(name, "background", background, "features", features.dtype)
    return background


def _check_distinct(name: str, coords: Any, groups: Groups) -> None:
    starts, order = concrete(groups.starts), concrete(groups.order)
    assert starts is not None and order is not None
    several = starts[1:] - starts[:-1] > 1
    if several.any():
        first = int(starts[several.argmax()])
        one, other = order[first], order[first + 1]
        wording = f"free of duplicates unless duplicates= is one of {list(DUPLICATES[1:])}"
        row = jnp.asarray(coords)[one].tolist()
        raise ValueError(expected(name, "coords", wording, f"{row} in rows {one} and {other}"))


def from_dense(x: Any, capacity: Any, background: Any) -> tuple[Sites, jax.Array, jax.Array | None]:
    """See ``VoxelTensor.from_dense``."""
    name = "from_dense"
    x = checks.float_array(name, "x", x)
    shape = windows.dense_spatial_shape(name, x.shape)
    windows.check_volume(name, "x", shape)
    if x.shape[0] == 0:
        raise ValueError(expected(name, "x", "of at least one batch element", f"shape {x.shape}"))
    background = background_of(name, background, x)
    voxels = x.shape[0] * math.prod(shape)
    capacity = capacities.resolve(name, capacity, None, volume=voxels, bound=voxels)
    (x,) = explicit_axes.replicate(x)
    coords, features, count = _dense_rows(capacity, x, background)
    return Sites(coords, count, x.shape[0], shape), features, background


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _dense_rows(capacity: int, x: jax.Array, background: jax.Array | None):
    still = jnp.zeros(x.shape[-1:], x.dtype) if background is None else background
    active = _differs(jax.lax.stop_gradient(x), jax.lax.stop_gradient(still))
    count = jnp.sum(active, dtype=jnp.int32)
    columns = jnp.nonzero(active, size=capacity, fill_value=0)
    used = (jnp.arange(capacity, dtype=jnp.int32) < count)[:, None]
    unused = jnp.zeros((1, x.ndim - 1), jnp.int32).at[0, 0].set(x.shape[0])
    coords = jnp.where(used, jnp.stack(columns, axis=1).astype(jnp.int32), unused)
    return coords, jnp.where(used, x[columns], jnp.zeros((), x.dtype)), count


def _differs(x: jax.Array, background: jax.Array) -> jax.Array:
    """bool ``[B, *S]``: a channel is not the background's. By bits, because XLA's comparisons take subnormals for 0.

    (It also takes the mask of a sign bit for an absolute value, which flushes, too: so signs are shifted out.)
    """
    unsigned = jnp.dtype(f"uint{8 * x.dtype.itemsize}")
    infinity = jax.lax.bitcast_convert_type(jnp.array(jnp.inf, x.dtype), unsigned) << unsigned.type(
        1
    )
    here, ground = (
        jax.lax.bitcast_convert_type(v, unsigned)
        for v in (x, background.reshape((1,) * (x.ndim - 1) + (-1,)))
    )
    magnitude, still = here << unsigned.type(1), ground << unsigned.type(1)
    zeros = (magnitude == 0) & (still == 0)  # 0 and -0 are equal, and NaN is no number's equal
    return jnp.any(((here != ground) & ~zeros) | (magnitude > infinity), axis=-1)


def to_dense(x: Any) -> jax.Array:
    """See ``VoxelTensor.to_dense``."""
    coords, features = explicit_axes.replicate(x.coords, x.features)
    return _filled((x.batch_size, *x.spatial_shape), coords, features, x.background)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _filled(
    limits: tuple[int, ...], coords: jax.Array, features: jax.Array, background: jax.Array | None
) -> jax.Array:
    used = rows.in_use(coords, limits)
    shape = (*limits, features.shape[1])
    if background is None:
        base = jnp.zeros(shape, features.dtype)
    else:
        base = jnp.broadcast_to(background, shape)
    # Unused rows go out of bounds, each somewhere else: indices stay unique.
    nowhere = LARGEST - jnp.arange(coords.shape[0], dtype=jnp.int32)
    batch = jnp.where(used, coords[:, 0], nowhere)
    place = (batch, *(coords[:, 1 + axis] for axis in range(len(limits) - 1)))
    return base.at[place].set(features, mode="drop", unique_indices=True)
