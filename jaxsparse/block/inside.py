"""Which pixels of the blocks are pixels of the image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import LARGEST, expected
from jaxsparse._core.rows import in_use as rows_in_use
from jaxsparse.block import _arguments
from jaxsparse.block._rows import listed
from jaxsparse.block.geometry import Geometry
from jaxsparse.block.indices import BlockIndices, check_blocks


def inside(blocks: BlockIndices, level: int = 0, *, batch_size: int) -> jax.Array:
    """The pixels of the blocks that lie in the image; none of the rows that are not in use.

    Between the convolutions of a chain, pixels outside of the image are padding: a dense network has 0 there, whatever
    norm and bias make of them in a block.

    Args:
      blocks: :class:`BlockIndices`.
      level: of ``blocks.geometry.levels``: 0 is the window, -1 the tile, in between are the inputs of the further
        convolutions.
      batch_size: images; ``x.shape[0]`` will do, a symbolic one too.

    Returns:
      bool ``[M, *size]`` of the boxes of that level.

    Raises:
      ValueError: there is no such level.
      TypeError: ``blocks`` is no ``BlockIndices``; what should be integers is not.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> blocks = block.reduce_mask(jnp.ones((1, 5)), block.geometry((5,), 5, kernel_sizes=(3, 1)))
      >>> block.inside(blocks, batch_size=1).astype(int).tolist()
      [[0, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
      >>> block.inside(blocks, 1, batch_size=1).astype(int).tolist()
      [[1, 1, 1], [1, 1, 0]]
    """
    check_blocks("inside", "blocks", blocks)
    batch_size = _arguments.batch_size("inside", batch_size)
    levels = len(blocks.geometry.levels)
    level = checks.integer("inside", "level", level, minimum=-levels)
    if level >= levels:
        wording = f"one of {levels} levels, 0 to {levels - 1} or from the end"
        raise ValueError(expected("inside", "level", wording, level))
    indices = listed(blocks)
    return _inside(blocks.geometry, level, batch_size, indices)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), inline=True)
def _inside(geometry: Geometry, level: int, batch_size: Any, indices: jax.Array) -> jax.Array:
    out = rows_in_use(indices, (batch_size, *geometry.grid))
    for axis, (n, size, stride, offset) in enumerate(zip(*geometry.levels[level], strict=True)):
        # Far outside the image numbers wrap around: only boxes from `low` to `high` touch it.
        low, high = max(-((offset + size - 1) // stride), 0), (n - 1 - offset) // stride
        at = indices[:, 1 + axis, None]
        pixel = offset + stride * at + jnp.arange(size)[None]
        here = (at >= low) & (at <= min(high, LARGEST)) & (pixel >= 0) & (pixel < n)
        out = out[..., None] & here.reshape(indices.shape[0], *(1,) * axis, size)
    return out
