"""From what users have (dense arrays, points, BCOO) to keys, values and nnz.

Everything may be traced. What can only be known from contents (entries that do not fit, duplicates, points out of range)
is an error where contents are known, and follows the documented rule where they are not.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, entries, explicit_axes, windows
from jaxsparse._core import rows as rows_of
from jaxsparse._core.checks import concrete, expected
from jaxsparse.direct import convert
from jaxsparse.direct._rows import DUPLICATES, Rows, locate, pack

Parts = tuple[jax.Array, jax.Array, jax.Array, tuple[int, ...]]


def from_dense(x: Any, capacity: Any, density: Any, select: Any) -> Parts:
    """See ``SparseTensor.from_dense``."""
    x = checks.float_array("from_dense", "x", x)
    shape = windows.dense_spatial_shape("from_dense", x.shape)
    volume = windows.check_volume("from_dense", "x", shape)
    slots = capacities.resolve("from_dense", capacity, density, volume=volume, bound=volume)
    rule = _rule("from_dense", select)
    keys, values, nnz = convert.from_dense(x, slots, rule)
    _check_fit("from_dense", select, nnz, slots)
    return keys, values, nnz, shape


def from_coords(
    coords: Any, values: Any, batch_size: Any, spatial_shape: Any, capacity: Any, density: Any,
    select: Any, duplicates: Any, count: Any,
) -> Parts:  # fmt: skip
    """See ``SparseTensor.from_coords``."""
    name = "from_coords"
    shape = windows.spatial_shape(name, spatial_shape)
    batch_size = checks.integer(name, "batch_size", batch_size, minimum=1)
    given, coords = coords, rows_of.coords_argument(name, coords, len(shape))
    rows = coords.shape[0]
    values = checks.float_array(name, "values", values)
    if values.ndim not in (1, 2) or values.shape[0] != rows or 0 in values.shape[1:]:
        wording = f"of shape [N] or [N, C] with N = {rows}, the rows of coords"
        raise ValueError(expected(name, "values", wording, f"shape {values.shape}"))
    values = values[:, None] if values.ndim == 1 else values
    coords, values = explicit_axes.replicate(coords, values)
    group, key, live, outside = locate(
        coords,
        rows_of.count_argument(name, count, rows),
        batch_size=batch_size,
        spatial_shape=shape,
    )
    rows_of.check_inside(name, given, outside, (batch_size, *shape))
    rows = Rows(group, key, live, values)
    keys, values, nnz = _pack(
        name, "coords", rows, batch_size, shape, capacity, density, select, duplicates
    )
    return keys, values, nnz, shape


def from_bcoo(x: Any, capacity: Any, density: Any, select: Any, duplicates: Any) -> Parts:
    """See ``SparseTensor.from_bcoo``."""
    from jax.experimental import sparse

    name = "from_bcoo"
    if not isinstance(x, sparse.BCOO):
        raise TypeError(expected(name, "x", "a jax.experimental.sparse.BCOO", type(x).__name__))
    shape = windows.dense_spatial_shape(name, x.shape)
    windows.check_volume(name, "x", shape)
    batch_size, channels = x.shape[0], x.shape[-1]
    # Batch dimensions of data and indices may have size 1, for all elements alike.
    lead = x.shape[: x.n_batch]
    data, indices = explicit_axes.replicate(x.data, x.indices)
    data = jnp.broadcast_to(data, lead + data.shape[x.n_batch :])
    indices = jnp.broadcast_to(indices, lead + indices.shape[x.n_batch :])
    x = sparse.BCOO((data, indices), shape=x.shape)
    x = sparse.bcoo_update_layout(x, n_batch=0, n_dense=0, on_inefficient=None)
    values = checks.float_array(name, "x.data", x.data)[:, None]
    # Every (batch element, channel) has voxels of its own here: each is a group, of one channel.
    indices = x.indices.astype(jnp.int32)
    group, key, live, _ = locate(
        indices, x.nse, batch_size=batch_size, spatial_shape=shape, channels=channels
    )
    rows = Rows(group, key, live, values)
    keys, values, nnz = (
        part.reshape(batch_size, channels, *part.shape[2:])
        for part in _pack(
            name, "x", rows, batch_size * channels, shape, capacity, density, select, duplicates
        )
    )
    return keys, values, nnz, shape


def _pack(name, argument, rows, groups, shape, capacity, density, select, duplicates):
    volume = windows.check_volume(name, "spatial_shape", shape)
    bound = min(rows.key.shape[0], volume)
    slots = capacities.resolve(name, capacity, density, volume=volume, bound=bound)
    checks.one_of(name, "duplicates", duplicates, DUPLICATES)
    rule = _rule(name, select)
    keys, values, nnz, repeated = pack(
        rows, groups=groups, volume=volume, capacity=slots, duplicates=duplicates, select=rule
    )
    found = concrete(repeated)
    if duplicates == "error" and found is not None and found:
        wording = f"free of duplicates unless duplicates= is one of {list(DUPLICATES[1:])}"
        raise ValueError(expected(name, argument, wording, f"{int(found)} rows too many"))
    _check_fit(name, select, nnz, slots)
    return keys, values, nnz


def _rule(name: str, select: Any) -> str:
    return "magnitude" if select is None else checks.one_of(name, "select", select, entries.SELECT)


def _check_fit(name: str, select: Any, nnz: jax.Array, capacity: int) -> None:
    found = concrete(nnz) if select is None else None
    if found is not None and found.size and found.max() > capacity:
        b, c = np.unravel_index(found.argmax(), found.shape)
        raise ValueError(
            f"{name}: {found.max()} entries in batch element {b}, channel {c} do not fit into a "
            f"capacity of {capacity}; give a larger capacity, or select= to cut them on purpose"
        )
