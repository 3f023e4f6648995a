"""A list of sites without features: what kernel maps are built from."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import capacity as capacities
from jaxsparse.voxel import _kernels
from jaxsparse.voxel._merge import Groups
from jaxsparse.voxel._relation import Relation


@dataclasses.dataclass(frozen=True, eq=False)
class Sites:
    """The part of a :class:`VoxelTensor` that has no features.

    Attributes:
      coords: int32 ``[N, 1 + d]`` in canonical order.
      count: int32 ``[]``, how many sites there were.
      batch_size: batch elements.
      spatial_shape: the box.
    """

    coords: jax.Array
    count: jax.Array
    batch_size: int
    spatial_shape: tuple[int, ...]


def sort(
    coords: jax.Array, used: jax.Array, batch_size: int, spatial_shape: tuple[int, ...],
    capacity: Any,
) -> tuple[Sites, Groups]:  # fmt: skip
    """Rows in any order and with repetitions, of which the first ``used`` count, to sites, and which rows make a site."""
    static = _kernels.SortRows(batch_size, spatial_shape, capacity)
    operands = _kernels.sort_rows.align(coords, used)
    found, count, row_of, order, starts = _kernels.sort_rows(static, *operands)
    return Sites(found, count[0], batch_size, spatial_shape), Groups(order, starts, row_of)


def reached(function: str, x: Any, relation: Relation, capacity: Any) -> Sites:
    """The sites that any site of ``x`` reaches; None as ``capacity``: room for all."""
    rows = x.coords.shape[0]
    capacity, _ = capacities.check(function, capacity, None)
    if capacity is None:
        capacity = rows * relation.reach
        if isinstance(rows, int):
            voxels = x.batch_size * volume(relation.out_shape)
            capacity = capacities.resolve(
                function, None, None, volume=voxels, bound=min(voxels, capacity)
            )
    static = _kernels.Sites(relation, x.batch_size, capacity)
    coords, count = _kernels.sites(static, *_kernels.sites.align(x.coords))
    return Sites(coords, count[0], x.batch_size, relation.out_shape)


def volume(spatial_shape: tuple[int, ...]) -> int:
    """Voxels of a batch element."""
    size = 1
    for n in spatial_shape:
        size *= n
    return size


def of(x: Any) -> Sites:
    """Those of a tensor."""
    return Sites(x.coords, jnp.asarray(x.count), x.batch_size, x.spatial_shape)
