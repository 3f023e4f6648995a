"""The kernels of sites and of the rows of points. Lists run over the whole batch, so no operand is shared out along it."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsparse._core.kernel import Kernel
from jaxsparse.voxel import _cuda_workspace
from jaxsparse.voxel._relation import Relation


class SortRows(NamedTuple):
    """Static parameters of ``sort_rows``."""

    batch: int
    spatial_shape: tuple[int, ...]
    capacity: Any  # may be symbolic


# coords[N, 1 + d], used[] -> coords[M, 1 + d], count[1], row_of[N], order[N], starts[M + 1]
sort_rows = Kernel(
    "sort_rows",
    "coords, used -> sites, count, row_of, order, starts",
    results=lambda static, coords, used: [
        ((static.capacity, coords.shape[1]), jnp.int32),
        ((1,), jnp.int32),
        ((coords.shape[0],), jnp.int32),
        ((coords.shape[0],), jnp.int32),
        ((static.capacity + 1,), jnp.int32),
    ],
    attributes=lambda static: {"batch": static.batch, "spatial_shape": static.spatial_shape},
    cuda_bytes=lambda static, coords, used: _cuda_workspace.list_of_sites(
        coords.shape[0], with_rows=True
    ),
    room="voxel",
)


class Sites(NamedTuple):
    """Static parameters of ``sites``."""

    relation: Relation
    batch: int
    capacity: Any  # may be symbolic


# coords[N, 1 + d] -> coords[M, 1 + d], count[1]
sites = Kernel(
    "sites",
    "coords -> sites, count",
    results=lambda static, coords: [
        ((static.capacity, coords.shape[1]), jnp.int32),
        ((1,), jnp.int32),
    ],
    attributes=lambda static: static.relation.attributes(static.batch),
    cuda_bytes=lambda static, coords: _cuda_workspace.list_of_sites(
        coords.shape[0] * static.relation.reach, with_rows=False
    ),
    room="voxel",
)


class Map(NamedTuple):
    """Static parameters of ``kernel_map``."""

    relation: Relation
    batch: int


# coords[N, 1 + d], sites[M, 1 + d] -> rows[taps, M]
kernel_map = Kernel(
    "kernel_map",
    "coords, sites -> rows",
    results=lambda static, coords, sites: [
        ((static.relation.taps, sites.shape[0]), jnp.int32),
    ],
    attributes=lambda static: static.relation.attributes(static.batch),
    cuda_bytes=lambda static, coords, sites: _cuda_workspace.kernel_map(coords.shape[0]),
    room="voxel",
)

# features[N, C], order[N], starts[M + 1] -> out[M, C]; the static parameter: whether means are taken
merge_rows = Kernel(
    "merge_rows",
    "features, order, starts -> out",
    results=lambda mean, features, order, starts: [
        ((starts.shape[0] - 1, features.shape[1]), features.dtype)
    ],
    attributes=lambda mean: {"mean": int(mean)},
    room="voxel",
)

# values[M, C], order[N], starts[M + 1], row_of[N] -> out[N, C]
spread_rows = Kernel(
    "spread_rows",
    "values, order, starts, row_of -> out",
    results=lambda mean, values, order, starts, row_of: [
        ((row_of.shape[0], values.shape[1]), values.dtype)
    ],
    attributes=lambda mean: {"mean": int(mean)},
    room="voxel",
)

# features[N, C], order[N], starts[M + 1] -> winner[M, C]
max_rows = Kernel(
    "max_rows",
    "features, order, starts -> winner",
    results=lambda static, features, order, starts: [
        ((starts.shape[0] - 1, features.shape[1]), jnp.int32)
    ],
    room="voxel",
)

# features[N, C], winner[M, C] -> out[M, C]
pick_rows = Kernel(
    "pick_rows",
    "features, winner -> out",
    results=lambda static, features, winner: [(winner.shape, features.dtype)],
    room="voxel",
)

# values[M, C], row_of[N], winner[M, C] -> out[N, C]
place_rows = Kernel(
    "place_rows",
    "values, row_of, winner -> out",
    results=lambda static, values, row_of, winner: [
        ((row_of.shape[0], values.shape[1]), values.dtype)
    ],
    room="voxel",
)
