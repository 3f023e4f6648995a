"""Blocks back onto images."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse.block import _arguments, _move
from jaxsparse.block._rows import listed
from jaxsparse.block.indices import BlockIndices, check_blocks


def scatter(
    y: jax.typing.ArrayLike,
    blocks: BlockIndices,
    base: jax.typing.ArrayLike,
    *,
    channels_first: bool = False,
) -> jax.Array:
    """``base`` with tiles in place of its pixels; what lies outside the image is dropped.

    Where tiles overlap, the later block in raster order wins, in the gradient too. Inside ``jit`` the result takes over
    the memory of ``base`` if nothing else needs it (a donated argument, say): no copy is made. Differentiable in reverse
    mode, to any order.

    Args:
      y: ``[M, *tile_size, channels]``; a tile is the part of a block's window that all convolutions of the geometry
        reach. Rows that are not in use have no effect.
      blocks: :class:`BlockIndices` whose ``geometry.out_shape`` is the spatial shape of ``base``.
      base: ``[batch, *spatial, channels]`` of the dtype of ``y``.
      channels_first: whether ``y`` is ``[M, channels, *tile_size]``.

    Returns:
      An array like ``base``.

    Raises:
      ValueError: shapes that do not fit.
      TypeError: ``blocks`` is no ``BlockIndices``; dtypes that differ or are neither floating point, integer nor bool.

    Source: SBNet's SparseScatter and SparseScatterVar (Ren et al., 2018).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> mask = jnp.array([[0.0, 0.0, 1.0, 0.0, 0.0]])
      >>> blocks = block.reduce_mask(mask, block.geometry((5,), 2, kernel_sizes=1), capacity=1)
      >>> block.scatter(jnp.ones((1, 2, 1)), blocks, jnp.zeros((1, 5, 1))).ravel().tolist()
      [0.0, 0.0, 1.0, 1.0, 0.0]
    """
    return _onto("scatter", _move.scatter, y, blocks, base, channels_first)


def scatter_add(
    y: jax.typing.ArrayLike,
    blocks: BlockIndices,
    base: jax.typing.ArrayLike,
    *,
    channels_first: bool = False,
) -> jax.Array:
    """``base`` plus tiles; what lies outside the image is dropped.

    Every pixel is ``base + tile + tile + ...`` in raster order of the blocks, whatever the threads do, in float32 (or
    float64) and rounded to the dtype last. In place and differentiable as :func:`scatter`.

    Args:
      y: floating point ``[M, *tile_size, channels]``.
      blocks: :class:`BlockIndices` whose ``geometry.out_shape`` is the spatial shape of ``base``.
      base: ``[batch, *spatial, channels]`` of the dtype of ``y``.
      channels_first: whether ``y`` is ``[M, channels, *tile_size]``.

    Returns:
      An array like ``base``.

    Raises:
      ValueError: shapes that do not fit.
      TypeError: ``blocks`` is no ``BlockIndices``; dtypes that differ or are not floating point.

    Source: SBNet's SparseScatter with ``add`` (Ren et al., 2018).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> g = block.Geometry.regular((5,), 3, stride=2, grid=2)
      >>> blocks = block.reduce_mask(jnp.ones((1, 5)), g)
      >>> block.scatter_add(jnp.ones((2, 3, 1)), blocks, jnp.zeros((1, 5, 1))).ravel().tolist()
      [1.0, 1.0, 2.0, 1.0, 1.0]
    """
    base = checks.float_array("scatter_add", "base", base)
    return _onto("scatter_add", _move.scatter_add, y, blocks, base, channels_first)


def scatter_new(
    y: jax.Array, blocks: BlockIndices, *, batch_size: Any, background: float = 0.0
) -> jax.Array:
    """``scatter`` of tiles ``[M, *tile_size, channels]`` onto a new image of ``background``, made on the way.

    For layers that have no base. The background has no gradient.
    """
    geometry = blocks.geometry
    places = _arguments.places(geometry, geometry.tile, batch_size, False)
    return _move.scatter_new(places, y, listed(blocks), jnp.asarray(background, y.dtype))


def _onto(function, move, y, blocks, base, channels_first):
    check_blocks(function, "blocks", blocks)
    geometry = blocks.geometry
    base = _arguments.image(function, "base", base, geometry.tile)
    _arguments.check_count(function, "base", base.shape[0], geometry)
    _arguments.check_bool(function, "channels_first", channels_first)
    rows = blocks.indices.shape[0]
    y = _arguments.tiles(function, "y", y, base, rows, geometry.tile_size, channels_first)
    places = _arguments.places(geometry, geometry.tile, base.shape[0], channels_first)
    return move(places, y, listed(blocks), base)
