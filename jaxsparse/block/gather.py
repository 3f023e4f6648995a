"""Blocks out of images."""

import jax

from jaxsparse.block import _arguments, _move
from jaxsparse.block._rows import listed
from jaxsparse.block.indices import BlockIndices, check_blocks


def gather(
    x: jax.typing.ArrayLike, blocks: BlockIndices, *, channels_first: bool = False
) -> jax.Array:
    """The windows of the blocks: pixels outside the image are 0, and so are rows of the list that are not in use.

    Differentiable in reverse mode, to any order; a pixel's gradient is the sum over the windows that hold it, in raster
    order.

    Args:
      x: ``[batch, *spatial, channels]`` of a floating point, integer or bool dtype.
      blocks: :class:`BlockIndices` for images of this spatial shape.
      channels_first: whether to transpose the blocks on the way.

    Returns:
      ``[M, *block_size, channels]`` of the dtype of ``x``, or ``[M, channels, *block_size]``.

    Raises:
      ValueError: ``x`` does not have the spatial shape of the geometry, or a list of the wrong shape.
      TypeError: ``blocks`` is no ``BlockIndices``; a dtype that is not listed.

    Source: SBNet's SparseGather (Ren et al., 2018).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> x = jnp.arange(1.0, 7.0).reshape(1, 6, 1)
      >>> blocks = block.reduce_mask(x[..., 0] > 4, block.geometry((6,), 4, kernel_sizes=3))
      >>> block.gather(x, blocks)[..., 0].tolist()
      [[2.0, 3.0, 4.0, 5.0], [4.0, 5.0, 6.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    check_blocks("gather", "blocks", blocks)
    geometry = blocks.geometry
    x = _arguments.image("gather", "x", x, geometry.window)
    _arguments.check_count("gather", "x", x.shape[0], geometry)
    _arguments.check_bool("gather", "channels_first", channels_first)
    places = _arguments.places(geometry, geometry.window, x.shape[0], channels_first)
    return _move.gather(places, x, listed(blocks))
