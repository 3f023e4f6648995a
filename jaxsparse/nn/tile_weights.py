"""How often a pixel of a gathered block counts in statistics, so that every pixel of the active tiles counts once."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import block
from jaxsparse._core.checks import expected


def tile_weights(blocks: block.BlockIndices, level: int, batch_size: int) -> jax.Array:
    """float32 ``[M, *size]`` of the boxes at ``level``: they sum to 1 over the copies of each pixel under an active tile.

    Under a tile lie, at the input of a convolution, the pixels ``[first * s, (last + 1) * s)`` with ``s`` the strides from
    there on: neighbouring tiles share none, whatever halo their windows have in common. Where tiles themselves overlap, each
    of ``n`` copies of a pixel counts ``1 / n``. Pixels outside the image and rows that are not in use count 0.
    """
    geometry = blocks.geometry
    here = block.inside(blocks, level, batch_size=batch_size)
    box, tile = geometry.levels[level], geometry.tile
    if any(b % t for b, t in zip(box.stride, tile.stride, strict=True)):
        wording = f"of strides that are multiples of the tiles', {tile.stride}"
        raise ValueError(expected("BlockBatchNorm", f"levels[{level}]", wording, box.stride))
    first, size = [], []
    for n, stride, offset, tile_size, tile_stride, tile_offset in zip(
        box.size, box.stride, box.offset, tile.size, tile.stride, tile.offset, strict=True
    ):
        scale = stride // tile_stride
        start = scale * tile_offset - offset
        end = min(n, start + scale * tile_size)
        start = max(0, start)
        first.append(start)
        size.append(max(0, end - start))
    share = np.ones((1,) * len(size), bool)
    for axis, (n, start, length) in enumerate(zip(box.size, first, size, strict=True)):
        place = np.arange(n)
        owned = (place >= start) & (place < start + length)
        share = share & owned.reshape(*(1,) * axis, n, *(1,) * (len(size) - axis - 1))
    here = here & jnp.asarray(share)[None]
    overlap = any(
        g > 1 and t < n for g, n, t in zip(geometry.grid, tile.size, tile.stride, strict=True)
    )
    if not overlap or 0 in size:
        return here.astype(jnp.float32)
    offset = tuple(o + f for o, f in zip(box.offset, first, strict=True))
    owned = block.Tiling(box.spatial_shape, tuple(size), box.stride, offset)
    again = blocks.replace(geometry=block.Geometry(geometry.grid, (owned,)))
    ones = jnp.ones((blocks.capacity, *size, 1), jnp.float32)
    counts = block.scatter_add(ones, again, jnp.zeros((batch_size, *box.spatial_shape, 1)))
    rest = [(f, n - f - s) for f, n, s in zip(first, box.size, size, strict=True)]
    counts = jnp.pad(block.gather(counts, again)[..., 0], [(0, 0), *rest])
    return jnp.where(here, 1 / jnp.maximum(counts, 1), 0)
