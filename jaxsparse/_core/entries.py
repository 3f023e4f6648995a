"""Keys and scores of entries, as the kernels understand them."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

SELECT = ("value", "magnitude", "relu")
"""The rules by which entries are kept where not all fit; their position is the kernels' number for them."""


def wide_dtype(dtype: jax.typing.DTypeLike) -> jnp.dtype:
    """The type in which numbers of a dtype are added: float64 for float64, else float32."""
    return jnp.dtype(jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32)


def is_stored(keys: jax.Array, volume: int) -> jax.Array:
    """Which slots hold entries, bool: the longest prefix of the last axis that ascends within ``[0, volume)``."""
    before = jnp.concatenate([jnp.full_like(keys[..., :1], -1), keys[..., :-1]], axis=-1)
    breaks = (keys <= before) | (keys >= volume)
    return jnp.cumsum(breaks.astype(jnp.int32), axis=-1) == 0


def unravel(keys: jax.Array, spatial_shape: Sequence[int]) -> jax.Array:
    """Coordinates of row-major keys, int32 ``[..., d]``; the volume itself is ``(spatial_shape[0], 0, ...)``."""
    coords, rest = [], keys
    for axis in range(len(spatial_shape)):
        stride = jnp.int32(math.prod(spatial_shape[axis + 1 :]))
        coords.append(rest // stride)
        rest = rest % stride
    return jnp.stack(coords, axis=-1)


def ravel(coords: jax.Array, spatial_shape: Sequence[int]) -> jax.Array:
    """Row-major keys, int32, of coordinates ``[..., d]`` inside the volume."""
    key = jnp.zeros(coords.shape[:-1], jnp.int32)
    for axis, size in enumerate(spatial_shape):
        key = key * jnp.int32(size) + coords[..., axis]
    return key


def score(values: jax.Array, select: str) -> jax.Array:
    """An integer of the same order as the values by a selection rule: the larger, the sooner kept.

    By bits, because XLA's comparisons on CPU take subnormal numbers for 0. NaN of either sign is above infinity; 0 and
    -0 are equal; by ``"relu"`` candidates are above 0. (XLA takes the mask of a sign bit for an absolute value and
    what is compared with it for floats again: so signs are subtracted out.)
    """
    wide = values if values.dtype == jnp.float64 else values.astype(jnp.float32)
    integer = jnp.int64 if wide.dtype == jnp.float64 else jnp.int32
    bits = jax.lax.bitcast_convert_type(wide, integer)
    limits = jnp.iinfo(integer)
    least = integer(limits.min)
    ordered = jnp.where(bits < 0, bits - least if select == "magnitude" else least - bits, bits)
    return jnp.where(jnp.isnan(wide), integer(limits.max), ordered)
