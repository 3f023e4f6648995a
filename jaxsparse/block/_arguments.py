"""Checks that several operations share."""

import math
from typing import Any

import jax
from jax import export

from jaxsparse._core import checks
from jaxsparse._core.checks import LARGEST, expected
from jaxsparse.block._kernels import Boxes, Move
from jaxsparse.block._move import Places
from jaxsparse.block.geometry import Geometry, Tiling

MOVED = (*checks.FLOATS, "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")  # fmt: skip
"""Types of images that are gathered and scattered as they are."""


def boxes(geometry: Geometry, tiling: Tiling) -> Boxes:
    """The kernels' parameters for one of the levels of a geometry."""
    return Boxes(tiling, geometry.grid)


def places(geometry: Geometry, tiling: Tiling, batch: Any, channels_first: Any) -> Places:
    """The parameters of moving blocks."""
    return Places(Move(boxes(geometry, tiling), channels_first), batch)


def check_bool(function: str, argument: str, value: Any) -> bool:
    """True or False, Python's."""
    if not isinstance(value, bool):
        raise TypeError(expected(function, argument, "True or False", checks.described(value)))
    return value


def batch_size(function: str, value: Any) -> Any:
    """How many images: an integer, or the symbolic size of an axis that is being exported."""
    if export.is_symbolic_dim(value):
        return value
    return checks.integer(function, "batch_size", value, minimum=0)


def check_count(function: str, argument: str, batch: Any, geometry: Geometry) -> None:
    """Raises where a batch has more blocks than an int32 counts."""
    if isinstance(batch, int) and batch * geometry.blocks > LARGEST:
        wording = f"of at most {LARGEST} blocks in all"
        what = f"{batch} images with {geometry.blocks} each"
        raise ValueError(expected(function, argument, wording, what))


def image(function: str, argument: str, value: Any, tiling: Tiling) -> jax.Array:
    """An array ``[batch, *spatial, channels]`` of the spatial shape of a level."""
    x = _movable(function, argument, value)
    wanted = tiling.spatial_shape
    if x.ndim != len(wanted) + 2 or tuple(x.shape[1:-1]) != wanted or x.shape[-1] == 0:
        wording = f"of shape [batch, {', '.join(map(str, wanted))}, channels], as blocks.geometry"
        raise ValueError(expected(function, argument, wording, f"shape {x.shape}"))
    return x


def tiles(
    function: str, argument: str, value: Any, base: jax.Array, rows: Any, size: tuple[int, ...],
    channels_first: bool,
) -> jax.Array:  # fmt: skip
    """An array of blocks that fit a list and a base."""
    y = _movable(function, argument, value)
    channels = base.shape[-1]
    wanted = (rows, channels, *size) if channels_first else (rows, *size, channels)
    meaning = "[M, channels of base, *tile size]" if channels_first else "[M, *tile size, channels of base]"  # fmt: skip
    checks.shape(function, argument, y, wanted, meaning)
    checks.same_dtype(function, argument, y, "base", base.dtype)
    return y


def _movable(function: str, argument: str, value: Any) -> jax.Array:
    x = checks.array(function, argument, value)
    if x.dtype.name not in MOVED:
        wording = "of a floating point, integer or bool dtype"
        raise TypeError(expected(function, argument, wording, x.dtype))
    if all(isinstance(n, int) for n in x.shape) and math.prod(x.shape) >= 2**59:
        raise ValueError(expected(function, argument, "of fewer elements", f"shape {x.shape}"))
    return x
