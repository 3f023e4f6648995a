"""Rows of points, in any order and with repetitions, to sorted lists of entries: sorts and scans on the device.

All of it is deterministic on every backend: no two rows are ever added by a scatter.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import entries, manual_axes
from jaxsparse._core.derivatives import backward_of, custom_vjp

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


@functools.partial(jax.jit, static_argnames=("batch_size", "spatial_shape", "channels"))
def locate(
    coords: jax.Array,
    count: jax.Array | int,
    *,
    batch_size: int,
    spatial_shape: tuple[int, ...],
    channels: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Where rows ``coords[N, 1 + d]`` (batch element, voxel) or ``[N, 1 + d + 1]`` (channel, too) belong.

    Returns:
      ``group``, ``key`` and ``live`` as in :class:`Rows`, and which of the first ``count`` rows are out of range. A
      group is a batch element or, where rows name channels, a channel of one.
    """
    limits = (batch_size, *spatial_shape, *([] if channels is None else [channels]))
    inside = jnp.all((coords >= 0) & (coords < jnp.asarray([limits], jnp.int32)), axis=-1)
    counted = jnp.arange(coords.shape[0], dtype=jnp.int32) < count
    group = coords[:, 0]
    if channels is not None:
        group = group * jnp.int32(channels) + coords[:, -1]
    key = entries.ravel(coords[:, 1 : 1 + len(spatial_shape)], spatial_shape)
    return group, key, counted & inside, counted & ~inside


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

    entry = (live & last)[:, None]  # what a voxel amounts to stands in its last row
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
    values = values.at[place].set(merged.astype(dtype), **put)
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
    """What the rows of a voxel amount to, up to and with each row; the last row of each has the result.

    Sums are in float32 (or float64): selection acts on them, rounding comes last.
    """
    if duplicates == "last":
        return values
    if duplicates == "max":
        score = jax.lax.stop_gradient(entries.score(values, "value"))
        index = jax.lax.broadcasted_iota(jnp.int32, values.shape, 0)
        score, index, first = manual_axes.unify(score, index, first)

        def larger(a, b):
            take_a = a[0] >= b[0]  # of equal ones the first
            return jnp.where(take_a, a[0], b[0]), jnp.where(take_a, a[1], b[1])

        _, winner = _scan_runs(larger, (score, index), first)
        return jnp.take_along_axis(values, winner, axis=0, mode="promise_in_bounds")
    wide = values if values.dtype == jnp.float64 else values.astype(jnp.float32)
    return _running_sum(wide, first)


@custom_vjp(static=0)
def _running_sum(values, first):
    return _scan_runs(lambda a, b: (a[0] + b[0],), (values,), first)[0]


@backward_of(_running_sum)
def _running_sum_bwd(first, cotangent):
    # Only last rows are looked at: they hand their cotangent to all rows of the voxel.
    run = jnp.cumsum(first, dtype=jnp.int32)
    last = jnp.searchsorted(run, run, side="right") - 1
    return cotangent.at[last].get(mode="promise_in_bounds"), None


def _scan_runs(combine: Callable, parts: tuple[jax.Array, ...], first: jax.Array):
    """Inclusive scan over runs of rows, by doubling: as many rounds as the longest run needs, none without repetitions.

    (``lax.associative_scan`` unrolls all rounds for the number of rows, which takes seconds to compile.)
    """

    def unfinished(state):
        _, done, _ = state
        return ~jnp.all(done)

    def double(state):
        parts, done, step = state
        # What is rolled in at the start is not looked at: those rows are done.
        before = jax.tree.map(lambda x: jnp.roll(x, step, axis=0), parts)
        joined = combine(before, parts)
        keep = done[:, None]
        parts = tuple(jnp.where(keep, x, y) for x, y in zip(parts, joined, strict=True))
        return parts, done | jnp.roll(done, step), step * 2

    return jax.lax.while_loop(unfinished, double, (parts, first, jnp.int32(1)))[0]


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
