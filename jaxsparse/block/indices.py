"""The container of this room."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.block.geometry import Geometry


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("indices", "count"), meta_fields=("geometry",)
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BlockIndices:
    """A list of active blocks, of a fixed capacity: one list for the whole batch.

    The constructor checks nothing (JAX calls it with leaves that are not arrays). :func:`reduce_mask` makes lists, and
    :meth:`from_indices` takes ones from elsewhere. Operations go by the rows: a list ends behind ``count`` of them, or at
    the first that is out of range or does not ascend.

    Attributes:
      indices: int32 ``[M, 1 + d]``, batch element and position in the grid, in raster order (strictly ascending);
        unused rows, at the end, hold ``(batch_size, 0, ...)``.
      count: int32 ``[]``, how many blocks were *found* active; it may exceed M.
      geometry: the grid (static).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> g = block.geometry((6, 6), 4, kernel_sizes=3)
      >>> mask = jnp.zeros((1, 6, 6), bool).at[0, 0, 4].set(True)
      >>> blocks = block.reduce_mask(mask, g, capacity=4)
      >>> blocks
      BlockIndices(capacity=4, grid=(3, 3), block_size=(4, 4))
      >>> blocks.indices.tolist(), int(blocks.count)
      ([[0, 0, 1], [0, 0, 2], [1, 0, 0], [1, 0, 0]], 2)
    """

    indices: jax.Array
    count: jax.Array
    geometry: Geometry

    def replace(self, **changes: Any) -> "BlockIndices":
        """A copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        try:
            capacity, _ = self.indices.shape
            grid, size = self.geometry.grid, self.geometry.block_size
        except (
            AttributeError,
            ValueError,
        ):  # leaves that are not arrays, or under a transformation
            fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self))
            return f"BlockIndices({', '.join(fields)})"
        return f"BlockIndices(capacity={capacity}, grid={grid}, block_size={size})"

    @property
    def capacity(self) -> int:
        """Rows of the list."""
        return self.indices.shape[-2]

    @property
    def stored(self) -> jax.Array:
        """int32 ``[]``: how many blocks are stored, ``min(count, capacity)``."""
        return jnp.minimum(self.count, self.capacity)

    @property
    def overflow(self) -> jax.Array:
        """int32 ``[]``: how many active blocks the capacity cut."""
        return self.count - self.stored

    @classmethod
    def from_indices(
        cls,
        indices: jax.typing.ArrayLike,
        geometry: Geometry,
        *,
        batch_size: int,
        count: jax.typing.ArrayLike | None = None,
    ) -> "BlockIndices":
        """The container from its own arrays, checked.

        Args:
          indices: int32 ``[M, 1 + d]`` as the attribute.
          geometry: the grid.
          batch_size: images.
          count: int32 ``[]``; None: the number of rows in use.

        Raises:
          ValueError, TypeError: as :meth:`validate`.

        >>> from jaxsparse import block
        >>> g = block.geometry((6, 6), 4, kernel_sizes=3)
        >>> int(block.BlockIndices.from_indices([[0, 0, 1], [0, 2, 0]], g, batch_size=1).count)
        2
        >>> block.BlockIndices.from_indices([[0, 2, 0], [0, 0, 1]], g, batch_size=1)
        Traceback (most recent call last):
            ...
        ValueError: from_indices: indices must be in strictly ascending raster order, got [0, 0, 1] after [0, 2, 0]
        """
        batch_size = checks.integer("from_indices", "batch_size", batch_size, minimum=0)
        indices = checks.int32_array("from_indices", "indices", indices)
        if count is None:
            count = jnp.sum(indices[..., :1] < batch_size, dtype=jnp.int32)
        else:
            count = checks.int32_array("from_indices", "count", count)
        blocks = cls(indices, count, geometry)
        _check("from_indices", blocks, batch_size)
        return blocks

    def validate(self, batch_size: int | None = None) -> "BlockIndices":
        """Checks the container and returns it: shapes and dtypes always, contents outside ``jit``.

        Args:
          batch_size: images; None: whatever the list says.

        Raises:
          ValueError: arrays of the wrong shape; rows out of range, not ascending or twice; unused rows that do not hold
            ``(batch_size, 0, ...)``; ``count`` that does not fit the rows.
          TypeError: wrong dtypes.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import block
        >>> blocks = block.reduce_mask(jnp.ones((1, 8)), block.geometry((8,), 4, kernel_sizes=3))
        >>> blocks.validate() is blocks
        True
        """
        if batch_size is not None:
            batch_size = checks.integer("validate", "batch_size", batch_size, minimum=0)
        _check("validate", self, batch_size)
        return self


def check_blocks(function: str, argument: str, blocks: Any) -> None:
    """Raises unless ``blocks`` is a ``BlockIndices`` whose arrays fit together, as far as shapes and dtypes tell."""
    if not isinstance(blocks, BlockIndices):
        what = checks.kind(blocks)
        raise TypeError(expected(function, argument, "a block.BlockIndices", what))
    if not isinstance(blocks.geometry, Geometry):
        what = repr(blocks.geometry)
        raise TypeError(expected(function, f"{argument}.geometry", "a block.Geometry", what))
    for name, rank in (("indices", 2), ("count", 0)):
        field = getattr(blocks, name)
        if not hasattr(field, "dtype") or isinstance(field, jax.ShapeDtypeStruct):
            what = type(field).__name__
            raise TypeError(expected(function, f"{argument}.{name}", "an array", what))
        if field.dtype != jnp.int32:
            raise TypeError(expected(function, f"{argument}.{name}", "of dtype int32", field.dtype))
        if len(field.shape) != rank:
            what = f"shape {tuple(field.shape)}"
            raise ValueError(expected(function, f"{argument}.{name}", f"of rank {rank}", what))
    rows, columns = blocks.indices.shape
    wanted = 1 + blocks.geometry.dims
    if columns != wanted or (isinstance(rows, int) and rows == 0):
        wording = f"of shape [M, {wanted}] with at least one row"
        what = f"shape {tuple(blocks.indices.shape)}"
        raise ValueError(expected(function, f"{argument}.indices", wording, what))


def _check(function: str, blocks: BlockIndices, batch_size: int | None) -> None:
    check_blocks(function, "blocks", blocks)
    indices, count = checks.concrete(blocks.indices), checks.concrete(blocks.count)
    if indices is None:
        return
    limits = np.array(blocks.geometry.grid)
    inside = (indices[:, 1:] >= 0).all(1) & (indices[:, 1:] < limits).all(1) & (indices[:, 0] >= 0)
    if not inside.all():
        wording = f"inside a batch and the grid {blocks.geometry.grid}"
        what = indices[np.argmin(inside)].tolist()
        raise ValueError(expected(function, "indices", wording, what))
    used = _used(function, indices, count, batch_size)
    raster = np.ravel_multi_index(tuple(indices[:used, 1:].T), blocks.geometry.grid)
    raster = raster + indices[:used, 0].astype(np.int64) * blocks.geometry.blocks
    bad = np.flatnonzero(np.diff(raster) <= 0)
    if bad.size:
        before, row = indices[bad[0]].tolist(), indices[bad[0] + 1].tolist()
        wording = "in strictly ascending raster order"
        raise ValueError(expected(function, "indices", wording, f"{row} after {before}"))


def _used(function: str, indices: np.ndarray, count: np.ndarray | None, batch_size: int | None):
    """How many rows are in use; raises where the others or ``count`` do not fit."""
    capacity = len(indices)
    if batch_size is not None:
        used = int((indices[:, 0] < batch_size).sum())
    elif count is not None:
        used = min(max(int(count), 0), capacity)
    else:
        return capacity
    unused = indices[used:]
    wanted = np.zeros(indices.shape[1], np.int32)
    if len(unused):
        wanted[0] = unused[0, 0] if batch_size is None else batch_size
    out_of_place = (unused != wanted).any(1)
    if batch_size is None and used and len(unused):
        out_of_place |= unused[:, 0] <= indices[:used, 0].max()
    if out_of_place.any():
        wording = "(batch_size, 0, ...) in unused rows, which come last"
        raise ValueError(
            expected(function, "indices", wording, unused[np.argmax(out_of_place)].tolist())
        )
    if count is not None and min(int(count), capacity) != used:
        wording = f"{used}, the number of rows in use (or more where all are)"
        raise ValueError(expected(function, "count", wording, int(count)))
    return used
