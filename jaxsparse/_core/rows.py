"""Lists of rows ``(batch element, coordinates)``: as users give them, and as the kernels go by them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import LARGEST, concrete, expected


def coords_argument(function: str, coords: Any, dims: int) -> jax.Array:
    """Rows ``[N, 1 + dims]`` in any order, int32: what does not fit is out of range, on the same side."""
    coords = checks.host_integers(function, "coords", coords)
    if coords.dtype.itemsize > 4:  # nothing may wrap around into the volume
        coords = coords.clip(
            0 if jnp.issubdtype(coords.dtype, jnp.unsignedinteger) else -1, LARGEST
        )
    coords = jnp.asarray(coords).astype(jnp.int32)
    if coords.ndim != 2 or coords.shape[1] != 1 + dims:
        wording = f"of shape [N, {1 + dims}]: batch element and {dims} coordinates"
        raise ValueError(expected(function, "coords", wording, f"shape {coords.shape}"))
    return coords


def count_argument(function: str, count: Any, rows: Any) -> jax.Array:
    """How many of the first rows count, int32 ``[]``; None: all."""
    if count is None:
        return jnp.int32(rows) if isinstance(rows, int) else jnp.asarray(rows, jnp.int32)
    count = checks.host_integers(function, "count", count, "an integer scalar")
    if count.ndim != 0:
        what = f"shape {count.shape}"
        raise TypeError(expected(function, "count", "an integer scalar", what))
    if not isinstance(count, jax.Array):
        return jnp.int32(min(max(int(count), 0), rows))
    return jnp.clip(count, 0, rows).astype(jnp.int32)


def outside(coords: jax.Array, count: jax.Array, limits: Sequence[int]) -> jax.Array:
    """bool ``[N]``: which of the first ``count`` rows are not inside ``limits``, (batch, *spatial)."""
    sizes = jnp.asarray([limits], jnp.int32)
    inside = jnp.all((coords >= 0) & (coords < sizes), axis=-1)
    return ~inside & (jnp.arange(coords.shape[0], dtype=jnp.int32) < count)


def check_inside(function: str, coords: Any, outside: jax.Array, limits: tuple[int, ...]) -> None:
    """Raises where contents are known and a row is outside; ``coords`` as they were given."""
    where = concrete(outside)
    if where is not None and where.any():
        row = int(np.flatnonzero(where)[0])
        wording = f"inside (batch_size, *spatial_shape) = {limits}"
        what = f"{np.asarray(coords)[row].tolist()} in row {row}"
        raise ValueError(expected(function, "coords", wording, what))


def in_use(rows: jax.Array, limits: Sequence[int]) -> jax.Array:
    """bool ``[N]``: the prefix that the kernels go by, inside ``limits`` (batch, *sizes) and strictly ascending."""
    inside = jnp.all((rows >= 0) & (rows < jnp.asarray([limits], jnp.int32)), axis=1)
    before = jnp.concatenate([jnp.full_like(rows[:1], -1), rows[:-1]])
    ascends = jnp.zeros(rows.shape[:1], bool)
    for column in reversed(range(rows.shape[1])):  # lexicographic
        now, then = rows[:, column], before[:, column]
        ascends = (now > then) | ((now == then) & ascends)
    # The place of the first row that breaks off: cheaper than a running sum.
    number = jnp.arange(rows.shape[0], dtype=jnp.int32)
    return number < jnp.min(jnp.where(inside & ascends, LARGEST, number), initial=LARGEST)


@dataclasses.dataclass(frozen=True)
class Parts:
    """One list for each of some equal parts of the batch.

    Attributes:
      rows: int32 ``[parts, M, 1 + d]``, batch elements numbered from 0 in each; unused rows as in any list.
      count: int32 ``[parts]``, how many rows each has.
      source: int32 ``[parts, M]``, where each row comes from.
      mine: bool ``[parts, M]``, which rows are in use.
    """

    rows: jax.Array
    count: jax.Array
    source: jax.Array
    mine: jax.Array


def parts_of(rows: jax.Array, limits: Sequence[int], parts: int, capacity: int) -> Parts:
    """A list inside ``limits`` (batch, *sizes), shared out. Of too many rows the first stay."""
    # The batch may be symbolic.
    number, each = rows.shape[0], jnp.asarray(limits[0] // parts, jnp.int32)
    batch = jnp.where(in_use(rows, limits), rows[:, 0], parts * each)
    edges = jnp.arange(parts + 1, dtype=jnp.int32) * each
    first = jnp.sum(batch[None] < edges[:, None], axis=1, dtype=jnp.int32)
    count = first[1:] - first[:-1]
    place = jnp.arange(capacity, dtype=jnp.int32)[None]
    source = jnp.minimum(first[:-1, None] + place, number - 1)
    mine = place < count[:, None]
    local = jnp.zeros((1, rows.shape[1]), jnp.int32).at[0, 0].set(1)
    here = rows[source] - edges[:-1, None, None] * local[None]
    return Parts(jnp.where(mine[..., None], here, each * local[None]), count, source, mine)
