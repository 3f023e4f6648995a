"""Rows of points, in any order and with repetitions, to sorted lists of entries: sorts and scans, no loop over data.

All of it is deterministic on every backend: no two rows are ever added by a scatter.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import entries

DUPLICATES = ("error", "sum", "max", "last")


class Rows(NamedTuple):
    """N points with a value for each of C channels.

    Attributes:
      group: int32 ``[N]``, which list a row belongs to.
      key: int32 ``[N]``, its voxel.
      live: bool ``[N]``; other rows are ignored, whatever they hold.
      values: ``[N, C]``.
    """

    group: jax.Array
    key: jax.Array
    live: jax.Array
    values: jax.Array


@functools.partial(
    jax.jit, static_argnames=("groups", "volume", "capacity", "duplicates", "select")
)
def pack(
    rows: Rows, *, groups: int, volume: int, capacity: int, duplicates: str, select: str
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Sorted lists of entries.

    Returns:
      keys ``[groups, C, capacity]``, values of the same shape, nnz ``[groups, C]``, and how many rows repeat a voxel.
    """
    channels, dtype = rows.values.shape[1], rows.values.dtype
    slots = (groups, channels, capacity)
    keys, values = jnp.full(slots, volume, jnp.int32), jnp.zeros(slots, dtype)
    if not rows.key.shape[0]:
        return keys, values, jnp.zeros(slots[:2], jnp.int32), jnp.int32(0)

    group, key, live, row_values = _sort(rows, groups)
    again = (group[1:] == group[:-1]) & (key[1:] == key[:-1]) & live[1:]
    first = jnp.concatenate([jnp.ones(1, jnp.bool_), ~again])
    last = jnp.concatenate([~again, jnp.ones(1, jnp.bool_)])
    merged = _merge(row_values, first, duplicates)

    entry = (live & last)[:, None]  # a voxel's merged value stands in its last row
    score = entries.score(merged, select)
    if select == "relu":
        entry = entry & (score > 0)
    nnz = _count(entry, group, groups)
    if capacity < min(volume, rows.key.shape[0]):  # else it cannot overflow
        entry = _strongest(entry, score, group, nnz, capacity)

    ahead = _exclusive_cumsum(jnp.minimum(nnz, capacity))  # entries in the groups before
    rank = jnp.cumsum(entry, axis=0, dtype=jnp.int32) - 1 - ahead[group]
    # Rows that are no entries go out of bounds, each somewhere else: indices stay unique.
    nowhere = capacity + jnp.arange(key.shape[0], dtype=jnp.int32)[:, None]
    place = (
        group[:, None],
        jnp.arange(channels, dtype=jnp.int32)[None],
        jnp.where(entry, rank, nowhere),
    )
    put = {"mode": "drop", "unique_indices": True}
    keys = keys.at[place].set(jnp.broadcast_to(key[:, None], merged.shape), **put)
    values = values.at[place].set(merged, **put)
    nnz = jnp.broadcast_to(nnz, slots[:2])
    return keys, values, nnz, jnp.sum(again, dtype=jnp.int32)


def _sort(rows: Rows, groups: int):
    """By group and key, rows of one voxel in their given order, dead rows last (in the group behind the last)."""
    count = rows.key.shape[0]
    group = jnp.where(rows.live, rows.group, jnp.int32(groups))
    key = jnp.where(rows.live, rows.key, jnp.int32(0))
    index = jnp.arange(count, dtype=jnp.int32)
    group, key, order = jax.lax.sort((group, key, index), num_keys=2, is_stable=True)
    values = rows.values.at[order].get(unique_indices=True, mode="promise_in_bounds")
    return group, key, group < groups, values


def _merge(values: jax.Array, first: jax.Array, duplicates: str) -> jax.Array:
    """What the rows of a voxel amount to, up to and with each row; the last row of each has the result."""
    first = jnp.broadcast_to(first[:, None], values.shape)
    if duplicates == "last":
        return values
    if duplicates == "max":
        index = jax.lax.broadcasted_iota(jnp.int32, values.shape, 0)

        def larger(a, b):
            take_a = ~b[2] & (a[0] >= b[0])  # of equal ones the first
            return jnp.where(take_a, a[0], b[0]), jnp.where(take_a, a[1], b[1]), a[2] | b[2]

        score = jax.lax.stop_gradient(entries.score(values, "value"))
        _, winner, _ = jax.lax.associative_scan(larger, (score, index, first))
        return jnp.take_along_axis(values, winner, axis=0, mode="promise_in_bounds")

    def add(a, b):
        return jnp.where(b[1], b[0], a[0] + b[0]), a[1] | b[1]

    wide = values if values.dtype == jnp.float64 else values.astype(jnp.float32)
    total, _ = jax.lax.associative_scan(add, (wide, first))
    return total.astype(values.dtype)


def _count(entry: jax.Array, group: jax.Array, groups: int) -> jax.Array:
    """Entries of each group: int32 ``[groups, C or 1]``."""
    before = jnp.cumsum(entry, axis=0, dtype=jnp.int32)
    before = jnp.concatenate([jnp.zeros_like(before[:1]), before])
    ends = jnp.searchsorted(group, jnp.arange(groups + 1, dtype=group.dtype))
    return jnp.diff(before[ends], axis=0)


def _exclusive_cumsum(counts: jax.Array) -> jax.Array:
    """``[groups + 1, C]``: what comes before each group; the last one is that of dead rows."""
    total = jnp.cumsum(counts, axis=0, dtype=jnp.int32)
    return jnp.concatenate([jnp.zeros_like(total[:1]), total])


def _strongest(
    entry: jax.Array, score: jax.Array, group: jax.Array, nnz: jax.Array, capacity: int
) -> jax.Array:
    """Which entries are among the ``capacity`` of the highest score in their group; of equal ones the lower key."""
    entry = jnp.broadcast_to(entry, score.shape)
    row = jax.lax.broadcasted_iota(jnp.int32, entry.shape, 0)
    groups = nnz.shape[0]
    bucket = jnp.where(entry, group[:, None], jnp.int32(groups))
    bucket, _, origin = jax.lax.sort((bucket, ~score, row), dimension=0, num_keys=3)
    ahead = _exclusive_cumsum(jnp.broadcast_to(nnz, (groups, entry.shape[1])))
    rank = row - jnp.take_along_axis(ahead, bucket, axis=0, mode="promise_in_bounds")
    kept = (bucket < groups) & (rank < capacity)
    column = jnp.arange(entry.shape[1], dtype=jnp.int32)[None]
    return jnp.zeros_like(entry).at[origin, column].set(kept, unique_indices=True)
