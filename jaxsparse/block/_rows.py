"""Lists of blocks as plain arrays."""

import jax
import jax.numpy as jnp

from jaxsparse.block.geometry import Geometry


def rows_in_use(indices: jax.Array, geometry: Geometry, batch: int) -> jax.Array:
    """bool ``[M]``: the prefix of the rows that the kernels go by, inside batch and grid and strictly ascending."""
    sizes = jnp.asarray((batch, *geometry.grid), jnp.int32)
    inside = jnp.all((indices >= 0) & (indices < sizes[None]), axis=1)
    before = jnp.concatenate([jnp.full_like(indices[:1], -1), indices[:-1]])
    ascends = jnp.zeros(indices.shape[:1], bool)
    for column in reversed(range(indices.shape[1])):  # lexicographic
        now, then = indices[:, column], before[:, column]
        ascends = (now > then) | ((now == then) & ascends)
    return jnp.cumsum((~(inside & ascends)).astype(jnp.int32)) == 0
