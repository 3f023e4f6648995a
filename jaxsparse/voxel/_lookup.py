"""Rows of a list by batch element and voxel, and what the rows hold."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import rows
from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.voxel import _grid, _merge
from jaxsparse.voxel._merge import Groups


class Index:
    """A list of sites to be searched. Keys of one batch element fit int32, those of a batch need not: pairs are compared."""

    def __init__(self, x: Any):
        self.shape = x.spatial_shape
        self.capacity = x.coords.shape[0]
        used = rows.in_use(x.coords, (x.batch_size, *self.shape))
        self.stored = jnp.sum(used, dtype=jnp.int32)
        self.batch = x.coords[:, 0]
        self.key = _grid.keys(x.coords[:, 1:], self.shape)

    def find(self, batch: jax.Array, place: jax.Array) -> jax.Array:
        """The row of each (batch element, voxel), int32 ``[P]``; the capacity where it is no active site.

        Args:
          batch: int32 ``[P]``.
          place: whole numbers ``[P, d]`` in any type; those outside of the volume are no site.
        """
        here = _grid.inside(place, self.shape)
        key = _grid.keys(jnp.where(here[:, None], place, 0), self.shape)

        def halve(_, bounds):
            low, high = bounds  # the first row that is not before the wanted one is in [low, high]
            middle = low + (high - low) // 2
            at = jnp.minimum(middle, self.capacity - 1)
            there, number = self.batch[at], self.key[at]
            before = (there < batch) | ((there == batch) & (number < key))
            before = before & (low < high)
            return jnp.where(before, middle + 1, low), jnp.where(before, high, middle)

        none = jnp.zeros_like(key)
        first = (none, none + self.stored)
        halvings = self.capacity.bit_length() if isinstance(self.capacity, int) else 31  # symbolic
        low, _ = jax.lax.fori_loop(0, halvings, halve, first)
        at = jnp.minimum(low, self.capacity - 1)
        found = here & (low < self.stored) & (self.batch[at] == batch) & (self.key[at] == key)
        return jnp.where(found, low, self.capacity)


def take(features: jax.Array, row: jax.Array) -> jax.Array:
    """``[N, C]`` to ``[P, C]``: what rows hold, 0 for row N. The gradient sums in the order of the points."""
    return _take(features.shape[0], features, row)


@custom_vjp(static=1)
def _take(capacity, features, row):
    found = (row < capacity)[:, None]
    return jnp.where(found, features[jnp.minimum(row, capacity - 1)], jnp.zeros((), features.dtype))


@backward_of(_take)
def _take_bwd(capacity, row, cotangent):
    order = jnp.argsort(row, stable=True).astype(jnp.int32)
    limits = jnp.arange(capacity + 1, dtype=jnp.int32)
    starts = jnp.searchsorted(row[order], limits).astype(jnp.int32)
    return _merge.merge(cotangent, Groups(order, starts, row), mean=False), None
