"""The container of this room."""

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks, entries, explicit_axes, windows
from jaxsparse._core.checks import expected
from jaxsparse.direct import _build, _validation, convert

if TYPE_CHECKING:  # it takes longer to import than all of jaxsparse
    from jax.experimental import sparse


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("keys", "values", "nnz"),
    meta_fields=("spatial_shape",),
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SparseTensor:
    """Sparse activations: a sorted list of entries for every (batch element, channel), of a fixed capacity.

    It stands for a dense array ``[batch, *spatial, channels]`` with 1 to 4 spatial dimensions. Only ``values`` carry
    gradients: ``jax.grad(lambda values: loss(x.replace(values=values)))``.

    The constructor checks nothing (JAX calls it with leaves that are not arrays). Build tensors with
    :meth:`from_dense`, :meth:`from_coords`, :meth:`from_bcoo` or :meth:`from_entries`.

    Attributes:
      keys: int32 ``[B, C, K]``, the row-major index of each entry's voxel, strictly ascending; unused slots, at the
        end, hold the volume.
      values: float ``[B, C, K]``, float16, bfloat16, float32 or float64; unused slots hold 0. An entry may hold 0.
      nnz: int32 ``[B, C]``, how many entries the producer *found*, before the capacity cut them.
      spatial_shape: the sizes of the spatial dimensions (static).

    What ``scan`` collects or ``vmap`` returns has further axes in front of all three arrays; the properties below tell
    of those, too (``shape`` is then ``(*axes, batch, *spatial, channels)``), operations want them mapped or indexed away.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.eye(3).reshape(1, 3, 3, 1), capacity=4)
      >>> x
      SparseTensor(batch=1, spatial_shape=(3, 3), channels=1, capacity=4, dtype=float32)
      >>> x.keys.tolist(), x.nnz.tolist()
      ([[[0, 4, 8, 9]]], [[3]])
    """

    keys: jax.Array
    values: jax.Array
    nnz: jax.Array
    spatial_shape: tuple[int, ...]

    def replace(self, **changes: Any) -> "SparseTensor":
        """A copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        try:
            batch, channels, capacity = self.keys.shape
            dtype = self.values.dtype
        except (
            AttributeError,
            ValueError,
        ):  # leaves that are not arrays, or under a transformation
            fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self))
            return f"SparseTensor({', '.join(fields)})"
        return (
            f"SparseTensor(batch={batch}, spatial_shape={self.spatial_shape}, "
            f"channels={channels}, capacity={capacity}, dtype={dtype})"
        )

    # ---- Derived ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the dense array that it stands for: ``(batch, *spatial, channels)``."""
        *batch, channels, _ = self.keys.shape
        return (*batch, *self.spatial_shape, channels)

    @property
    def dtype(self) -> Any:
        """The type of the values."""
        return self.values.dtype

    @property
    def channels(self) -> int:
        """Channels."""
        return self.keys.shape[-2]

    @property
    def capacity(self) -> int:
        """Slots of a (batch element, channel)."""
        return self.keys.shape[-1]

    @property
    def volume(self) -> int:
        """Voxels."""
        return math.prod(int(size) for size in self.spatial_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the three arrays."""
        return sum(x.size * x.dtype.itemsize for x in (self.keys, self.values, self.nnz))

    @property
    def stored(self) -> jax.Array:
        """int32 ``[B, C]``: how many entries are stored, ``min(nnz, capacity)``."""
        return jnp.minimum(self.nnz, self.capacity)

    @property
    def overflow(self) -> jax.Array:
        """int32 ``[B, C]``: how many entries the capacity cut."""
        return self.nnz - self.stored

    @property
    def density(self) -> jax.Array:
        """float32 ``[B, C]``: ``nnz / volume``, the share of voxels that were *found* active."""
        return self.nnz.astype(jnp.float32) / self.volume

    def coords(self) -> jax.Array:
        """int32 ``[B, C, K, d]``: the voxel of each slot; of an unused one ``(spatial_shape[0], 0, ...)``."""
        return entries.unravel(self.keys, self.spatial_shape)

    # ---- Conversions -----------------------------------------------------------------------------------------------

    def to_dense(self) -> jax.Array:
        """The dense array ``[B, *spatial, C]``: stored values at their voxels, 0 elsewhere. Differentiable.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import direct
        >>> x = direct.SparseTensor.from_dense(jnp.array([[[0.0], [5.0]]]))
        >>> x.to_dense().ravel().tolist()
        [0.0, 5.0]
        """
        check_tensor("to_dense", "x", self)
        return convert.to_dense(self.spatial_shape, self.keys, self.values)

    def to_bcoo(self) -> "sparse.BCOO":
        """A ``jax.experimental.sparse.BCOO`` ``[B, *spatial, C]`` of all slots. Differentiable.

        Unused slots lie outside the shape, which is how BCOO pads. It is one list: on a mesh with explicit axes every
        device gets all of it.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import direct
        >>> x = direct.SparseTensor.from_dense(jnp.array([[[0.0], [5.0]]]))
        >>> x.to_bcoo().todense().ravel().tolist()
        [0.0, 5.0]
        """
        from jax.experimental import sparse

        check_tensor("to_bcoo", "x", self)
        keys, values = explicit_axes.replicate(self.keys, self.values)
        batch, channels, capacity = keys.shape
        rows = (batch, channels, capacity)
        b = jax.lax.broadcasted_iota(jnp.int32, rows, 0)
        c = jax.lax.broadcasted_iota(jnp.int32, rows, 1)
        voxels = entries.unravel(keys, self.spatial_shape)
        indices = jnp.concatenate([b[..., None], voxels, c[..., None]], axis=-1)
        unused = (keys >= self.volume)[..., None]
        outside = jnp.broadcast_to(jnp.asarray(self.shape, jnp.int32), indices.shape)
        indices = jnp.where(unused, outside, indices)
        data = (values.reshape(-1), indices.reshape(-1, len(self.shape)))
        return sparse.BCOO(data, shape=self.shape, unique_indices=True)

    @classmethod
    def from_dense(
        cls,
        x: jax.typing.ArrayLike,
        *,
        capacity: int | None = None,
        density: float | None = None,
        select: str | None = None,
    ) -> "SparseTensor":
        """The entries of a dense array that are not exactly 0 (NaN is one). Differentiable.

        Args:
          x: float ``[batch, *spatial, channels]`` with 1 to 4 spatial dimensions.
          capacity: entries that a (batch element, channel) may store.
          density: the same as a share of the volume, ``ceil(density * volume - 1e-6)`` entries. Both left out: the
            volume.
          select: which entries to keep where they do not fit: ``"magnitude"``, ``"value"`` (the largest), ``"relu"``
            (the largest of the positive ones; no others are entries). None: what does not fit is an error where
            contents are known, which is outside ``jit``, ``vmap`` and the like, ``grad`` alone included; elsewhere it
            is cut by magnitude.

        Raises:
          ValueError: wrong rank, too many voxels, a capacity of 0 or two capacities, an unknown rule, or (outside
            ``jit``, without a rule) entries that do not fit.
          TypeError: ``x`` is not of a floating point type.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import direct
        >>> x = jnp.array([[[1.0], [0.0], [-3.0], [2.0]]])
        >>> direct.SparseTensor.from_dense(x, capacity=2, select="magnitude").values.tolist()
        [[[-3.0, 2.0]]]
        """
        return cls(*_build.from_dense(x, capacity, density, select))

    @classmethod
    def from_coords(
        cls,
        coords: jax.typing.ArrayLike,
        values: jax.typing.ArrayLike,
        *,
        batch_size: int,
        spatial_shape: tuple[int, ...],
        capacity: int | None = None,
        density: float | None = None,
        select: str | None = None,
        duplicates: str = "error",
        count: jax.typing.ArrayLike | None = None,
    ) -> "SparseTensor":
        """A list of points, in any order. Differentiable with respect to the values.

        Every row is an entry in every channel, also where its value is 0. The points are sorted as one list: on a mesh
        with explicit axes every device gets all of it.

        Args:
          coords: integers ``[N, 1 + d]``: batch element and voxel.
          values: float ``[N]`` (one channel) or ``[N, C]``.
          batch_size: batch elements.
          spatial_shape: sizes of the 1 to 4 spatial dimensions.
          capacity: entries that a (batch element, channel) may store.
          density: the same as a share of the volume. Both left out: ``min(N, volume)``.
          select: as in :meth:`from_dense`.
          duplicates: what several rows of one voxel mean: ``"sum"``, ``"max"``, ``"last"`` (in the order of the rows)
            or ``"error"``, which inside ``jit`` is ``"sum"``. Sums are XLA's, in float32 (or float64): on CPU it takes
            subnormal numbers for 0 there, unlike our own kernels. What is not added up keeps its bits.
          count: an integer, possibly traced: rows from there on are padding. None: all rows count.

        Raises:
          ValueError: wrong ranks or shapes, and (outside ``jit``) rows out of range, duplicates, entries that do not
            fit. Inside ``jit`` rows out of range are dropped.
          TypeError: wrong dtypes.

        >>> from jaxsparse import direct
        >>> x = direct.SparseTensor.from_coords(
        ...     [[0, 2], [0, 1], [0, 2]],
        ...     [1.0, 2.0, 3.0],
        ...     batch_size=1,
        ...     spatial_shape=(4,),
        ...     duplicates="sum",
        ... )
        >>> x.keys.tolist(), x.values.tolist(), x.nnz.tolist()
        ([[[1, 2, 4]]], [[[2.0, 4.0, 0.0]]], [[2]])
        """
        return cls(
            *_build.from_coords(
                coords, values, batch_size, spatial_shape, capacity, density, select, duplicates,
                count,
            )
        )  # fmt: skip

    @classmethod
    def from_bcoo(
        cls,
        x: "sparse.BCOO",
        *,
        capacity: int | None = None,
        density: float | None = None,
        select: str | None = None,
        duplicates: str = "error",
    ) -> "SparseTensor":
        """The specified elements of a ``jax.experimental.sparse.BCOO``. Differentiable with respect to its data.

        Every specified element is an entry, also where it is 0; elements outside the shape are BCOO's padding.

        Args:
          x: float ``[batch, *spatial, channels]`` with any division into batch, sparse and dense dimensions.
          capacity: entries that a (batch element, channel) may store.
          density: the same as a share of the volume. Both left out: ``min(number of elements, volume)``.
          select: as in :meth:`from_dense`.
          duplicates: as in :meth:`from_coords`; BCOO's own meaning is ``"sum"``.

        Raises:
          ValueError: wrong rank, and (outside ``jit``) duplicates or entries that do not fit.
          TypeError: ``x`` is no BCOO, or not of a floating point type.

        >>> import jax.numpy as jnp
        >>> from jax.experimental import sparse
        >>> from jaxsparse import direct
        >>> x = sparse.BCOO.fromdense(jnp.array([[[0.0], [5.0]]]))
        >>> direct.SparseTensor.from_bcoo(x).keys.tolist()
        [[[1]]]
        """
        return cls(*_build.from_bcoo(x, capacity, density, select, duplicates))

    @classmethod
    def from_entries(
        cls,
        keys: jax.typing.ArrayLike,
        values: jax.typing.ArrayLike,
        *,
        spatial_shape: tuple[int, ...],
        nnz: jax.typing.ArrayLike | None = None,
    ) -> "SparseTensor":
        """The container from its own arrays, checked. Values in unused slots are set to 0.

        Args:
          keys: int32 ``[B, C, K]`` as the attribute.
          values: float ``[B, C, K]``.
          spatial_shape: sizes of the 1 to 4 spatial dimensions.
          nnz: int32 ``[B, C]``; None: the number of entries in ``keys``.

        Raises:
          ValueError, TypeError: as :meth:`validate`.

        >>> import numpy as np
        >>> from jaxsparse import direct
        >>> keys = np.array([[[3, 1]]], np.int32)
        >>> direct.SparseTensor.from_entries(
        ...     keys, np.ones((1, 1, 2), np.float32), spatial_shape=(5,)
        ... )
        Traceback (most recent call last):
            ...
        ValueError: from_entries: keys must be strictly ascending, got 1 after 3 at [0, 0, 1]
        """
        shape = windows.spatial_shape("from_entries", spatial_shape)
        keys = checks.int32_array("from_entries", "keys", keys)
        values = checks.array("from_entries", "values", values)
        if keys.ndim != 3:
            what = f"shape {keys.shape}"
            raise ValueError(expected("from_entries", "keys", "of rank 3, [B, C, K]", what))
        volume = math.prod(shape)
        if nnz is None:
            nnz = jnp.sum(entries.is_stored(keys, volume), axis=-1, dtype=jnp.int32)
        else:
            nnz = checks.int32_array("from_entries", "nnz", nnz)
        x = cls(keys, values, nnz, shape)
        _validation.check("from_entries", x)
        unused = keys >= volume
        return x.replace(values=jnp.where(unused, jnp.zeros((), values.dtype), values))

    def validate(self) -> "SparseTensor":
        """Checks the container and returns it: shapes and dtypes always, contents outside ``jit``.

        Raises:
          ValueError: arrays of the wrong rank or shape; keys out of range, not ascending or twice; an entry behind an
            unused slot; ``nnz`` that does not fit the keys.
          TypeError: wrong dtypes.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import direct
        >>> x = direct.SparseTensor.from_dense(jnp.ones((1, 4, 1)))
        >>> x.validate() is x
        True
        """
        _validation.check("validate", self)
        return self


def check_tensor(function: str, argument: str, x: Any, *, specs: bool = False) -> None:
    """Raises unless ``x`` is a ``SparseTensor`` whose arrays fit together, as far as shapes and dtypes tell.

    ``specs``: whether ``jax.ShapeDtypeStruct`` will do for arrays.
    """
    if not isinstance(x, SparseTensor):
        raise TypeError(expected(function, argument, "a direct.SparseTensor", checks.kind(x)))
    _validation.check_fields(function, argument, x, specs=specs)
