"""One list into one for each device."""

import functools
from typing import Any

import jax

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks
from jaxsparse._core import rows as rows_of
from jaxsparse._core.checks import expected
from jaxsparse.block import _arguments
from jaxsparse.block._rows import listed
from jaxsparse.block.geometry import Geometry
from jaxsparse.block.indices import BlockIndices, check_blocks


def split(
    blocks: BlockIndices, parts: int, *, batch_size: int, capacity: int | None = None
) -> BlockIndices:
    """The lists of equal parts of the batch, with a leading axis: for ``shard_map`` over it.

    Part ``p`` has images ``p * batch_size / parts`` and on, numbered from 0. What shares out the batch of the images shares
    out the leading axis, and each device takes its list from it: ``jax.tree.map(lambda a: a[0], blocks)``.

    Args:
      blocks: :class:`BlockIndices` of the whole batch.
      parts: how many; it divides ``batch_size``.
      batch_size: images; ``x.shape[0]`` will do, a symbolic one too (``"4 * n"``, say, for four parts).
      capacity: rows of each list; None: those of ``blocks``. Of too many the first in raster order stay.

    Returns:
      :class:`BlockIndices` with ``indices`` ``[parts, M, 1 + d]`` and ``count`` ``[parts]``, the blocks of each part among
      those that ``blocks`` holds.

    Raises:
      ValueError: ``parts`` does not divide the batch; numbers out of range.
      TypeError: what should be integers is not, ``blocks`` is no ``BlockIndices``.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> mask = jnp.array([[1.0, 0.0], [1.0, 1.0]])
      >>> blocks = block.reduce_mask(mask, block.Geometry.regular((2,), 1))
      >>> halves = block.split(blocks, 2, batch_size=2, capacity=2)
      >>> halves.indices.tolist(), halves.count.tolist()
      ([[[0, 0], [1, 0]], [[0, 0], [0, 1]]], [1, 2])
    """
    check_blocks("split", "blocks", blocks)
    parts = checks.integer("split", "parts", parts, minimum=1)
    batch_size = _arguments.batch_size("split", batch_size)
    if batch_size % parts != 0:  # of a symbolic one where that is not known
        wording = f"a divisor of batch_size, {batch_size}"
        raise ValueError(expected("split", "parts", wording, parts))
    rows: Any = blocks.indices.shape[0]
    capacity = capacities.resolve("split", capacity, None, volume=rows, bound=rows)
    indices = listed(blocks)
    indices, count = _split(blocks.geometry, parts, batch_size, capacity, indices)
    return BlockIndices(indices, count, blocks.geometry)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3), inline=True)
def _split(geometry: Geometry, parts: int, batch_size: Any, capacity: int, indices: jax.Array):
    shared = rows_of.parts_of(indices, (batch_size, *geometry.grid), parts, capacity)
    return shared.rows, shared.count
