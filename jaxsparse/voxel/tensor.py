"""The container of this room."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks, rows, windows
from jaxsparse._core.checks import expected
from jaxsparse.voxel import _build


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("coords", "features", "count", "background"),
    meta_fields=("batch_size", "spatial_shape"),
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class VoxelTensor:
    """Spatially sparse activations: a list of active sites for the whole batch, of a fixed capacity.

    A site is active for all channels or not at all. It stands for a dense array ``[batch, *spatial, channels]`` with 1 to
    4 spatial dimensions, which holds the ground state at inactive sites: ``background``, or 0 without one. The order of
    the rows is canonical, so results do not depend on the order in which points came.

    The constructor checks nothing (JAX calls it with leaves that are not arrays). Build tensors with :meth:`from_coords`
    or :meth:`from_dense`. Operations go by the rows: a list ends at the first row that is out of range or does not
    ascend. Only ``features`` and ``background`` carry gradients:
    ``jax.grad(lambda features: loss(x.replace(features=features)))``.

    Attributes:
      coords: int32 ``[N, 1 + d]``, batch element and voxel, strictly ascending (by batch element, then row-major); unused
        rows, at the end, hold ``(batch_size, 0, ...)``.
      features: float ``[N, C]``, float16, bfloat16, float32 or float64; unused rows hold 0.
      count: int32 ``[]``, how many sites were *found*; it may exceed N.
      batch_size: batch elements (static).
      spatial_shape: the sizes of the spatial dimensions (static).
      background: float ``[C]``, the value of every inactive site, or None.

    Source: SparseConvNet (Graham, 2014; Graham et al., 2018) for sites and ground state.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 2, 1], [0, 0, 3]],
      ...     [[1.0], [2.0]],
      ...     batch_size=1,
      ...     spatial_shape=(4, 4),
      ...     capacity=3,
      ... )
      >>> x
      VoxelTensor(capacity=3, channels=1, batch=1, spatial_shape=(4, 4), dtype=float32)
      >>> x.coords.tolist(), x.features.ravel().tolist(), int(x.count)
      ([[0, 0, 3], [0, 2, 1], [1, 0, 0]], [2.0, 1.0, 0.0], 2)
    """

    coords: jax.Array
    features: jax.Array
    count: jax.Array
    batch_size: int
    spatial_shape: tuple[int, ...]
    background: jax.Array | None = None

    def replace(self, **changes: Any) -> "VoxelTensor":
        """A copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def without_background(self) -> "VoxelTensor":
        """The same sites and features; inactive sites are 0."""
        return self.replace(background=None)

    def __repr__(self) -> str:
        try:
            capacity, channels = self.features.shape
            dtype = self.features.dtype
        except (
            AttributeError,
            ValueError,
        ):  # leaves that are not arrays, or under a transformation
            fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self))
            return f"VoxelTensor({', '.join(fields)})"
        ground = "" if self.background is None else ", with background"
        return (
            f"VoxelTensor(capacity={capacity}, channels={channels}, batch={self.batch_size}, "
            f"spatial_shape={self.spatial_shape}, dtype={dtype}{ground})"
        )

    # ---- Derived ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the dense array that it stands for: ``(batch, *spatial, channels)``."""
        return (self.batch_size, *self.spatial_shape, self.features.shape[-1])

    @property
    def dtype(self) -> Any:
        """The type of the features."""
        return self.features.dtype

    @property
    def channels(self) -> int:
        """Channels."""
        return self.features.shape[-1]

    @property
    def capacity(self) -> int:
        """Rows of the list."""
        return self.coords.shape[-2]

    @property
    def volume(self) -> int:
        """Voxels of a batch element."""
        return math.prod(int(size) for size in self.spatial_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self))

    @property
    def stored(self) -> jax.Array:
        """int32 ``[]``: how many sites are stored, ``min(count, capacity)``."""
        return jnp.minimum(self.count, self.capacity)

    @property
    def overflow(self) -> jax.Array:
        """int32 ``[]``: how many sites the capacity cut."""
        return self.count - self.stored

    @property
    def density(self) -> jax.Array:
        """float32 ``[]``: the share of voxels that were *found* active."""
        return self.count.astype(jnp.float32) / (self.batch_size * self.volume)

    def in_use(self) -> jax.Array:
        """bool ``[N]``: which rows hold sites: the prefix that operations go by."""
        return rows.in_use(self.coords, (self.batch_size, *self.spatial_shape))

    # ---- Conversions -----------------------------------------------------------------------------------------------

    def to_dense(self) -> jax.Array:
        """The dense array ``[B, *spatial, C]``: features at their sites, the background elsewhere. Differentiable.

        >>> from jaxsparse import voxel
        >>> x = voxel.VoxelTensor.from_coords([[0, 1]], [[5.0]], batch_size=1, spatial_shape=(3,))
        >>> x.to_dense().ravel().tolist()
        [0.0, 5.0, 0.0]
        """
        check_tensor("to_dense", "x", self)
        return _build.to_dense(self)

    @classmethod
    def from_coords(
        cls,
        coords: jax.typing.ArrayLike,
        features: jax.typing.ArrayLike,
        *,
        batch_size: int,
        spatial_shape: tuple[int, ...],
        capacity: int | None = None,
        duplicates: str = "error",
        background: jax.typing.ArrayLike | None = None,
        count: jax.typing.ArrayLike | None = None,
    ) -> "VoxelTensor":
        """A list of points, in any order. Differentiable with respect to features and background.

        Args:
          coords: integers ``[N, 1 + d]``: batch element and voxel.
          features: float ``[N, C]``.
          batch_size: batch elements.
          spatial_shape: sizes of the 1 to 4 spatial dimensions.
          capacity: rows of the list; None: ``min(N, batch_size * volume)``. Of too many sites the first in canonical
            order stay, outside ``jit``, too: nothing is raised, and ``count`` says how many there were.
          duplicates: what several rows of one site mean: ``"sum"`` (in the order of the rows), ``"mean"``, ``"max"`` (of
            each channel; NaN is the largest, the gradient goes to the first of equal ones) or ``"error"``, which inside
            ``jit`` is ``"sum"``.
          background: float ``[C]``, the ground state; None: there is none.
          count: an integer, possibly traced: rows from there on are padding. None: all rows count.

        Raises:
          ValueError: wrong ranks or shapes, and (outside ``jit``) rows out of range, duplicates. Inside ``jit`` rows out
            of range are dropped.
          TypeError: wrong dtypes.

        >>> from jaxsparse import voxel
        >>> x = voxel.VoxelTensor.from_coords(
        ...     [[0, 2], [0, 1], [0, 2]],
        ...     [[1.0], [2.0], [4.0]],
        ...     batch_size=1,
        ...     spatial_shape=(4,),
        ...     duplicates="mean",
        ... )
        >>> x.coords.tolist(), x.features.ravel().tolist(), int(x.count)
        ([[0, 1], [0, 2], [1, 0]], [2.0, 2.5, 0.0], 2)
        """
        sites, values, ground = _build.from_coords(
            coords, features, batch_size, spatial_shape, capacity, duplicates, background, count
        )
        return cls(sites.coords, values, sites.count, sites.batch_size, sites.spatial_shape, ground)

    @classmethod
    def from_dense(
        cls,
        x: jax.typing.ArrayLike,
        *,
        capacity: int | None = None,
        background: jax.typing.ArrayLike | None = None,
    ) -> "VoxelTensor":
        """The sites of a dense array where a channel differs from the background (from 0 without one; NaN does).

        Differentiable with respect to ``x`` and the background.

        Args:
          x: float ``[batch, *spatial, channels]`` with 1 to 4 spatial dimensions.
          capacity: rows of the list; None: all voxels. Of too many sites the first in canonical order stay, outside
            ``jit``, too: nothing is raised, and ``count`` says how many there were.
          background: float ``[C]``, the ground state; None: there is none.

        Raises:
          ValueError: wrong rank or shape, too many voxels, a capacity of 0.
          TypeError: ``x`` is not of a floating point type, the background of another one.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import voxel
        >>> x = jnp.array([[[1.0], [0.0], [-3.0], [1.0]]])
        >>> voxel.VoxelTensor.from_dense(x, capacity=2).coords.tolist()
        [[0, 0], [0, 2]]
        >>> voxel.VoxelTensor.from_dense(x, capacity=2, background=jnp.ones(1)).coords.tolist()
        [[0, 1], [0, 2]]
        """
        sites, features, ground = _build.from_dense(x, capacity, background)
        return cls(
            sites.coords, features, sites.count, sites.batch_size, sites.spatial_shape, ground
        )

    def validate(self) -> "VoxelTensor":
        """Checks the container and returns it: shapes and dtypes always, contents outside ``jit``.

        Raises:
          ValueError: arrays of the wrong shape; rows out of range, not ascending or twice; unused rows that do not hold
            ``(batch_size, 0, ...)`` or features other than 0; ``count`` that does not fit the rows.
          TypeError: wrong dtypes.

        >>> import jax.numpy as jnp
        >>> from jaxsparse import voxel
        >>> x = voxel.VoxelTensor.from_dense(jnp.ones((1, 4, 1)))
        >>> x.validate() is x
        True
        """
        check_tensor("validate", "x", self)
        _check_contents("validate", self)
        return self


def check_tensor(function: str, argument: str, x: Any) -> None:
    """Raises unless ``x`` is a ``VoxelTensor`` whose arrays fit together, as far as shapes and dtypes tell."""
    if not isinstance(x, VoxelTensor):
        raise TypeError(expected(function, argument, "a voxel.VoxelTensor", checks.kind(x)))
    if not isinstance(x.spatial_shape, tuple):
        what = repr(x.spatial_shape)
        raise TypeError(expected(function, f"{argument}.spatial_shape", "a tuple", what))
    windows.spatial_shape(function, x.spatial_shape)
    checks.integer(function, f"{argument}.batch_size", x.batch_size, minimum=1)
    fields = [("coords", 2), ("features", 2), ("count", 0)]
    for name, rank in fields + ([] if x.background is None else [("background", 1)]):
        field = getattr(x, name)
        if not hasattr(field, "dtype") or isinstance(field, jax.ShapeDtypeStruct):
            what = type(field).__name__
            raise TypeError(expected(function, f"{argument}.{name}", "an array", what))
        if len(field.shape) != rank:
            what = f"shape {tuple(field.shape)}"
            raise ValueError(expected(function, f"{argument}.{name}", f"of rank {rank}", what))
    for name in ("coords", "count"):
        dtype = getattr(x, name).dtype
        if dtype != jnp.int32:
            raise TypeError(expected(function, f"{argument}.{name}", "of dtype int32", dtype))
    if x.features.dtype.name not in checks.FLOATS:
        wording = f"of dtype {', '.join(checks.FLOATS)}"
        raise TypeError(expected(function, f"{argument}.features", wording, x.features.dtype))
    number: Any = x.coords.shape[0]
    columns = 1 + len(x.spatial_shape)
    if x.coords.shape[1] != columns or (isinstance(number, int) and number == 0):
        wording = f"of shape [N, {columns}] with at least one row"
        what = f"shape {tuple(x.coords.shape)}"
        raise ValueError(expected(function, f"{argument}.coords", wording, what))
    if x.features.shape[0] != number or x.features.shape[1] == 0:
        wording = f"of shape [N, C] with N = {number}, the rows of coords"
        what = f"shape {tuple(x.features.shape)}"
        raise ValueError(expected(function, f"{argument}.features", wording, what))
    if x.background is not None:
        name = f"{argument}.background"
        checks.shape(function, name, x.background, (x.channels,), "a number for each channel")
        checks.same_dtype(function, name, x.background, f"{argument}.features", x.features.dtype)


def _check_contents(function: str, x: VoxelTensor) -> None:
    coords = checks.concrete(x.coords)
    if coords is None:
        return
    used = int(np.sum(coords[:, 0] < x.batch_size))
    limits = np.array((x.batch_size, *x.spatial_shape))
    unused = np.zeros(coords.shape[1], np.int32)
    unused[0] = x.batch_size
    bad = (coords[used:] != unused).any(1)
    if bad.any():
        wording = f"{tuple(unused.tolist())} in unused rows, which come last"
        what = coords[used + int(bad.argmax())].tolist()
        raise ValueError(expected(function, "x.coords", wording, what))
    bad = ((coords[:used] < 0) | (coords[:used] >= limits)).any(1)
    if bad.any():
        wording = f"inside (batch_size, *spatial_shape) = {tuple(limits.tolist())}"
        raise ValueError(expected(function, "x.coords", wording, coords[bad.argmax()].tolist()))
    key = coords[:used, 0].astype(np.int64)
    for axis, size in enumerate(x.spatial_shape):
        key = key * size + coords[:used, 1 + axis]
    bad = np.flatnonzero(np.diff(key) <= 0)
    if bad.size:
        before, row = coords[bad[0]].tolist(), coords[bad[0] + 1].tolist()
        raise ValueError(
            expected(function, "x.coords", "strictly ascending", f"{row} after {before}")
        )
    count, features = checks.concrete(x.count), checks.concrete(x.features)
    if count is not None and min(int(count), len(coords)) != used:
        wording = f"{used}, the number of rows in use (or more where all are)"
        raise ValueError(expected(function, "x.count", wording, int(count)))
    if features is not None and (features[used:] != 0).any():
        raise ValueError(expected(function, "x.features", "0 in unused rows", "something else"))
