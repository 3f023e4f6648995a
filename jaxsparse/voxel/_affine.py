"""What the normalisations have in common."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel.tensor import VoxelTensor


def per_channel(function: str, name: str, value: Any, x: VoxelTensor) -> Any:
    """A number for each channel, ``[C]`` in the accumulator's type, or None."""
    if value is None:
        return None
    dtype = wide_dtype(x.dtype)
    value = checks.array(function, name, value)
    if value.dtype not in (x.dtype, dtype):
        wording = f"of the dtype of x, {x.dtype}, or of its accumulator, {dtype}"
        raise TypeError(expected(function, name, wording, value.dtype))
    checks.shape(function, name, value, (x.channels,), "one a channel")
    return value.astype(dtype)


def scaled(y: jax.Array, scale: jax.Array | None, bias: jax.Array | None) -> jax.Array:
    """``y * scale + bias`` of rows ``[N, C]``."""
    if scale is not None:
        y = y * scale[None]
    return y if bias is None else y + bias[None]


def of_rows(x: VoxelTensor, function: Callable[[jax.Array], jax.Array]) -> VoxelTensor:
    """``function`` of the rows ``[N, C]`` in use and of the background; unused rows hold 0."""
    y = function(x.features)
    y = jnp.where(x.in_use()[:, None], y, jnp.zeros_like(y))
    if x.background is None:
        return x.replace(features=y)
    (background,) = function(x.background[None])
    return x.replace(features=y, background=background)
