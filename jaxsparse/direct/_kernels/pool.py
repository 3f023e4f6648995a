"""Pooling, and the sums over windows that its derivatives are."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxsparse._core.kernel import Attributes, Kernel
from jaxsparse._core.windows import Pooling
from jaxsparse.direct._kernels.results import chosen, list_sizes, volume_attribute


class Pool(NamedTuple):
    """Static parameters of ``max_pool`` and ``avg_pool``."""

    geometry: Pooling
    capacity: int


def _pool_workspace(static: Pool, xk, xv) -> Attributes:
    return {
        **static.geometry._asdict(),
        "capacity": xk.shape[2],
        "out_capacity": static.capacity,
        "itemsize": xv.dtype.itemsize,
    }


def _pool_on_cuda(static: Pool, xk, xv) -> Attributes:
    return {
        **static.geometry._asdict(),
        "channels": xk.shape[1],
        "capacity": xk.shape[2],
        "out_capacity": static.capacity,
    }


# The maximum of the stored entries of each window
max_pool = Kernel(
    "max_pool",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch source",
    results=lambda static, xk, xv: chosen((*xk.shape[:2], static.capacity), xv.dtype),
    attributes=lambda static: static.geometry._asdict(),
    workspace=_pool_workspace,
    cuda_workspace=_pool_on_cuda,
)

# The mean of the stored entries of each window, and of how many it is: int32, 0 in unused slots
avg_pool = Kernel(
    "avg_pool",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch count",
    results=lambda static, xk, xv: chosen((*xk.shape[:2], static.capacity), xv.dtype),
    attributes=lambda static: static.geometry._asdict(),
    workspace=_pool_workspace,
    cuda_workspace=_pool_on_cuda,
)


def _windows_workspace(geometry: Pooling, fine, coarse, dtype) -> Attributes:
    return {
        **geometry._asdict(),
        "capacity": fine.shape[2],
        "out_capacity": coarse.shape[2],
        "itemsize": dtype.itemsize,
    }


def _windows_on_cuda(fine, coarse) -> Attributes:
    return {"channels": fine.shape[1], "capacity": fine.shape[2], "out_capacity": coarse.shape[2]}


# Entries (fine, [B, C, K]) and windows that hold them (coarse, [B, C, Ko]): each other's adjoint; static is the geometry.
# The sum over a window's entries, divided by its count where that is given
window_sum = Kernel(
    "window_sum",
    "batch fine_keys, batch fine, batch coarse_keys, batch count -> batch coarse",
    results=lambda geometry, fine_keys, fine, coarse_keys, count: [(coarse_keys.shape, fine.dtype)],
    attributes=lambda geometry: geometry._asdict(),
    workspace=lambda geometry, fine_keys, fine, coarse_keys, count: _windows_workspace(
        geometry, fine_keys, coarse_keys, fine.dtype
    ),
    cuda_workspace=lambda geometry, fine_keys, fine, coarse_keys, count: _windows_on_cuda(
        fine_keys, coarse_keys
    ),
    optional={"count": jnp.int32},
)

window_spread = Kernel(
    "window_spread",
    "batch fine_keys, batch coarse_keys, batch coarse, batch count -> batch fine",
    results=lambda geometry, fine_keys, coarse_keys, coarse, count: [
        (fine_keys.shape, coarse.dtype)
    ],
    attributes=lambda geometry: geometry._asdict(),
    workspace=lambda geometry, fine_keys, coarse_keys, coarse, count: _windows_workspace(
        geometry, fine_keys, coarse_keys, coarse.dtype
    ),
    cuda_workspace=lambda geometry, fine_keys, coarse_keys, coarse, count: _windows_on_cuda(
        fine_keys, coarse_keys
    ),
    optional={"count": jnp.int32},
)

# The maximum of all stored entries, as a list of capacity 1 and volume 1; static is the volume
global_max_pool = Kernel(
    "global_max_pool",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch source",
    results=lambda volume, xk, xv: chosen((*xk.shape[:2], 1), xv.dtype),
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
)

# keys[B, C, K], values[B, C, K] -> mean[B, C], and its adjoint
global_avg_pool = Kernel(
    "global_avg_pool",
    "batch keys, batch values -> batch mean",
    results=lambda volume, keys, values: [(keys.shape[:2], values.dtype)],
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
)

global_avg_pool_grad = Kernel(
    "global_avg_pool_grad",
    "batch keys, batch g -> batch out",
    results=lambda volume, keys, g: [(keys.shape, g.dtype)],
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
)
