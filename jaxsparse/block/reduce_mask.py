"""From a mask to the list of active blocks."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks
from jaxsparse._core.checks import FLOATS, expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.block import _arguments, _kernels
from jaxsparse.block.geometry import Geometry
from jaxsparse.block.indices import BlockIndices


def reduce_mask(
    mask: jax.typing.ArrayLike,
    geometry: Geometry,
    *,
    threshold: jax.typing.ArrayLike = 0.0,
    mode: str = "max",
    capacity: int | None = None,
) -> BlockIndices:
    """The blocks of a grid in which a mask is active, in raster order.

    A block is active if the mask, pooled over the pixels of its window that lie inside the image, is *greater than* the
    threshold; NaN is. A window without such pixels is not active. No active block means no block: ``count`` is 0.
    Where more blocks are active than ``capacity``, the ones of the highest response stay (NaN above all; equal
    responses: the earlier in raster order), still in raster order, and ``count`` says how many there were.

    There is no gradient: the decision is hard.

    Args:
      mask: bool or float ``[batch, *spatial]``, without channels.
      geometry: the grid, for images of this spatial shape.
      threshold: a number, possibly traced; it is rounded to float32 (float64 for a float64 mask).
      mode: ``"max"`` or ``"mean"``; the mean is over the pixels inside the image, summed in float64.
      capacity: rows of the list. None: all blocks of all images, which cannot overflow; every row costs time in what
        follows, so choose it near the counts that occur.

    Returns:
      :class:`BlockIndices` of capacity M.

    Raises:
      ValueError: a mask of another shape, an unknown mode, a threshold of NaN, a capacity below 1.
      TypeError: a mask that is neither bool nor float; ``geometry`` is none.

    Source: SBNet's ReduceMask (Ren et al., 2018).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> mask = jnp.array([[0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.2, 0.0]])
      >>> g = block.geometry((8,), 4, kernel_sizes=3)
      >>> block.reduce_mask(mask, g, threshold=0.1).indices.tolist()
      [[0, 2], [0, 3], [1, 0], [1, 0]]
      >>> blocks = block.reduce_mask(mask, g, threshold=0.1, mode="mean", capacity=1)
      >>> blocks.indices.tolist(), int(blocks.count)
      ([[0, 3]], 2)
    """
    if not isinstance(geometry, Geometry):
        what = checks.kind(geometry)
        raise TypeError(expected("reduce_mask", "geometry", "a block.Geometry", what))
    mask = checks.array("reduce_mask", "mask", mask)
    if mask.dtype != jnp.bool_ and mask.dtype.name not in FLOATS:
        wording = f"of dtype bool, {', '.join(FLOATS)}"
        raise TypeError(expected("reduce_mask", "mask", wording, mask.dtype))
    if mask.ndim != geometry.dims + 1 or tuple(mask.shape[1:]) != geometry.spatial_shape:
        sizes = ", ".join(map(str, geometry.spatial_shape))
        wording = f"of shape [batch, {sizes}], as the geometry, without channels"
        raise ValueError(expected("reduce_mask", "mask", wording, f"shape {mask.shape}"))
    batch = mask.shape[0]
    _arguments.check_count("reduce_mask", "mask", batch, geometry)
    limit = _threshold(threshold, mask.dtype)
    mode = checks.one_of("reduce_mask", "mode", mode, _kernels.MODES)
    static = _kernels.Reduce(
        _arguments.boxes(geometry, geometry.window),
        geometry.blocks,
        _capacity(capacity, batch, geometry),
        _kernels.MODES.index(mode),
    )
    mask, limit = map(jax.lax.stop_gradient, (mask, limit))
    operands = _kernels.reduce_mask.align(mask, limit)
    indices, count, *_ = _kernels.reduce_mask(static, *operands)
    return BlockIndices(indices, count[0], geometry)


def _threshold(value: Any, dtype: Any) -> jax.Array:
    value = checks.traceable_number("reduce_mask", "threshold", value, finite=False)
    return jnp.asarray(value).astype(wide_dtype(dtype))


def _capacity(capacity: Any, batch: Any, geometry: Geometry) -> Any:
    if capacity is None and not isinstance(batch, int):  # symbolic
        return batch * geometry.blocks
    bound = 0 if capacity is not None else batch * geometry.blocks
    return capacities.resolve("reduce_mask", capacity, None, volume=bound, bound=bound)
