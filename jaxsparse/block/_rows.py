"""Lists of blocks as plain arrays."""

import functools

import jax
import jax.numpy as jnp

from jaxsparse._core import explicit_axes
from jaxsparse.block.indices import BlockIndices


def listed(blocks: BlockIndices) -> jax.Array:
    """``blocks.indices``, the rows behind the blocks that were found taken out of range.

    Unused rows name the image behind the last one, which a larger batch than the list was made for has.
    """
    return _listed(*explicit_axes.replicate(blocks.indices, blocks.count))


@functools.partial(jax.jit, inline=True)
def _listed(indices: jax.Array, count: jax.Array) -> jax.Array:
    place = jnp.arange(indices.shape[0], dtype=jnp.int32)
    return jnp.where((place < count)[:, None], indices, -1)
