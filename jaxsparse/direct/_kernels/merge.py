"""The sum of two lists of entries."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxsparse._core.kernel import Attributes, Kernel
from jaxsparse.direct._kernels.results import chosen


class Add(NamedTuple):
    """Static parameters of ``add``."""

    volume: int
    capacity: int


def _add_results(static: Add, xk, xv, yk, yv) -> list:
    slots = (*xk.shape[:2], static.capacity)
    return [*chosen(slots, xv.dtype), (slots, jnp.int32)]


def _add_workspace(static: Add, xk, xv, yk, yv) -> Attributes:
    return {
        "x_capacity": xk.shape[2],
        "y_capacity": yk.shape[2],
        "out_capacity": static.capacity,
        "itemsize": xv.dtype.itemsize,
    }


# Entries of either, added; what does not fit cut by magnitude; sources are slots of the inputs, -1 for none
add = Kernel(
    "add",
    "batch xk, batch xv, batch yk, batch yv"
    " -> batch keys, batch values, batch nnz, batch x_source, batch y_source",
    results=_add_results,
    attributes=lambda static: {"volume": static.volume},
    workspace=_add_workspace,
    cuda_workspace=lambda static, xk, *others: {
        **_add_workspace(static, xk, *others),
        "channels": xk.shape[1],
        "volume": static.volume,
    },
)
