"""Dense arrays to entries, and back."""

from typing import NamedTuple

from jaxsparse._core.kernel import Attributes, Kernel
from jaxsparse.direct._kernels.results import entries, list_sizes


class Sparsify(NamedTuple):
    """Static parameters of ``from_dense``."""

    capacity: int
    select: int


def _from_dense_workspace(static: Sparsify, x) -> Attributes:
    return {
        "spatial_shape": x.shape[1:-1],
        "channels": x.shape[-1],
        "out_capacity": static.capacity,
        "itemsize": x.dtype.itemsize,
    }


# x[B, *S, C] -> entries that are not 0, by the rule where they do not fit
from_dense = Kernel(
    "from_dense",
    "batch x -> batch keys, batch values, batch nnz",
    results=lambda static, x: entries((x.shape[0], x.shape[-1], static.capacity), x.dtype),
    attributes=lambda static: {"select": static.select},
    workspace=_from_dense_workspace,
    cuda_workspace=_from_dense_workspace,
)

# keys[B, C, K], values[B, C, K] -> dense[B, *S, C]; static is S
to_dense = Kernel(
    "to_dense",
    "batch keys, batch values -> batch dense",
    results=lambda spatial_shape, keys, values: [
        ((keys.shape[0], *spatial_shape, keys.shape[1]), values.dtype)
    ],
    cuda_workspace=list_sizes,
)

# keys[B, C, K], dense[B, *S, C] -> values[B, C, K]: the adjoint of to_dense; static is None
gather_dense = Kernel(
    "gather_dense",
    "batch keys, batch dense -> batch values",
    results=lambda static, keys, dense: [(keys.shape, dense.dtype)],
    cuda_workspace=list_sizes,
)
