"""Kernel maps: which row meets which, tap by tap. All convolutions and poolings of this room go by them."""

import dataclasses
import functools
from typing import Any

import jax

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.voxel._relation import Relation
from jaxsparse.voxel._sites import Sites
from jaxsparse.voxel.tensor import VoxelTensor


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("inputs", "outputs", "in_coords", "in_count", "coords", "count"),
    meta_fields=("relation", "batch_size"),
)
@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class KernelMap:
    """For each tap of a kernel, which input row meets which output row.

    A tap relates an input to one output at most and the other way round, so both directions are plain tables. Taps are
    numbered row-major over the kernel. :func:`jaxsparse.voxel.plan` makes maps; operations that get none make their own.

    Attributes:
      inputs: int32 ``[K, M]``, the input row that an output row meets at each tap; N where there is none.
      outputs: int32 ``[K, N]``, the output row that an input row meets at each tap; M where there is none.
      in_coords: int32 ``[N, 1 + d]``, the input sites.
      in_count: int32 ``[]``, how many input sites there were.
      coords: int32 ``[M, 1 + d]``, the output sites.
      count: int32 ``[]``, how many output sites there were; it may exceed M.
      relation: the geometry (static).
      batch_size: batch elements (static).

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 2], [0, 3]], [[1.0], [2.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> (kernel_map,) = voxel.plan(x, [voxel.Layer("submanifold_conv", 3)])
      >>> kernel_map.inputs.tolist()  # left of row 0 is nothing, right of it row 1
      [[2, 0], [0, 1], [1, 2]]
    """

    inputs: jax.Array
    outputs: jax.Array
    in_coords: jax.Array
    in_count: jax.Array
    coords: jax.Array
    count: jax.Array
    relation: Relation
    batch_size: int

    def replace(self, **changes: Any) -> "KernelMap":
        """A copy with some fields exchanged."""
        return dataclasses.replace(self, **changes)

    def __repr__(self) -> str:
        try:
            (taps, rows), (_, in_rows) = self.inputs.shape, self.outputs.shape
        except (
            AttributeError,
            ValueError,
        ):  # leaves that are not arrays, or under a transformation
            fields = (f"{f.name}={getattr(self, f.name)!r}" for f in dataclasses.fields(self))
            return f"KernelMap({', '.join(fields)})"
        return f"KernelMap(taps={taps}, in_capacity={in_rows}, capacity={rows})"

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Taps along each axis."""
        return self.relation.kernel_size

    @property
    def taps(self) -> int:
        """K."""
        return self.inputs.shape[-2]

    @property
    def in_capacity(self) -> int:
        """N, rows of the input."""
        return self.outputs.shape[-1]

    @property
    def capacity(self) -> int:
        """M, rows of the output."""
        return self.inputs.shape[-1]

    @property
    def in_spatial_shape(self) -> tuple[int, ...]:
        """The box of the input."""
        return self.relation.in_shape

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """The box of the output."""
        return self.relation.out_shape

    @property
    def sites(self) -> Sites:
        """The output sites."""
        return Sites(self.coords, self.count, self.batch_size, self.spatial_shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(self))

    def transpose(self) -> "KernelMap":
        """The map with inputs and outputs exchanged: that of the adjoint. Taps keep their numbers."""
        return KernelMap(
            self.outputs,
            self.inputs,
            self.coords,
            self.count,
            self.in_coords,
            self.in_count,
            self.relation.reversed(),
            self.batch_size,
        )

    def tensor(self, features: jax.Array, background: jax.Array | None = None) -> VoxelTensor:
        """Features ``[M, C]`` at the output sites."""
        return VoxelTensor(
            self.coords, features, self.count, self.batch_size, self.spatial_shape, background
        )


def check_plan(function: str, plan: Any, x: Any, relation: Relation) -> None:
    """Raises unless ``plan`` is the map of this relation for the sites of ``x``, as far as can be seen."""
    if not isinstance(plan, KernelMap):
        what = checks.kind(plan)
        raise TypeError(expected(function, "plan", "an entry of a voxel.plan, a KernelMap", what))
    if plan.relation != relation or plan.batch_size != x.batch_size:
        wording = f"for a batch of {x.batch_size} and {_told(relation)}"
        what = f"one for a batch of {plan.batch_size} and {_told(plan.relation)}"
        raise ValueError(expected(function, "plan", wording, what))
    if plan.in_coords.shape != x.coords.shape:
        wording = f"for {x.coords.shape[0]} rows, those of x"
        raise ValueError(
            expected(function, "plan", wording, f"one for {plan.in_coords.shape[0]} rows")
        )
    if plan.in_coords is x.coords:
        return
    theirs, ours = checks.concrete(plan.in_coords), checks.concrete(x.coords)
    if theirs is not None and ours is not None and (theirs != ours).any():
        row = int((theirs != ours).any(axis=1).argmax())
        wording = f"made from the sites of x, {ours[row].tolist()} in row {row}"
        raise ValueError(expected(function, "plan", wording, theirs[row].tolist()))


def _told(r: Relation) -> str:
    return (
        f"spatial shapes {r.in_shape} to {r.out_shape} by a kernel of {r.kernel_size} with strides "
        f"{tuple(o if i == 1 else f'1/{i}' for i, o in zip(r.in_stride, r.out_stride, strict=True))}, "
        f"offsets {r.offset} and steps {r.step}"
    )
