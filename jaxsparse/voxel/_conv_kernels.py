"""The kernels of convolutions over kernel maps. Lists run over the whole batch, so no operand is shared out along it."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxsparse._core.checks import LARGEST
from jaxsparse._core.entries import wide_dtype
from jaxsparse._core.kernel import Kernel
from jaxsparse.voxel import _cuda_workspace


class Conv(NamedTuple):
    """Static parameters of ``map_conv``.

    ``transposed``: each tap's matrix is transposed within its group; the kernel is that of the convolution the other way.
    """

    groups: int
    transposed: bool = False

    def out_channels(self, kernel: Any) -> int:
        """Channels of the result."""
        return kernel.shape[1] * self.groups if self.transposed else kernel.shape[2]


def _sizes(groups: int, taps, features, out_rows, out_channels) -> dict[str, Any]:
    def rows(n):
        return n if isinstance(n, int) else LARGEST  # of a symbolic size only a bound is known

    return {
        "taps": taps,
        "in_rows": rows(features.shape[0]),
        "out_rows": rows(out_rows),
        "in_channels": features.shape[1],
        "out_channels": out_channels,
        "groups": groups,
        "itemsize": features.dtype.itemsize,
    }


# features[N, Ci], kernel[K, Ci / groups, Co], rows[K, M] -> out[M, Co] in the type of the accumulator
map_conv = Kernel(
    "map_conv",
    "features, kernel, rows -> out",
    results=lambda static, features, kernel, rows: [
        ((rows.shape[1], static.out_channels(kernel)), wide_dtype(features.dtype))
    ],
    attributes=lambda static: {
        "groups": static.groups,
        "transposed": int(static.transposed),
    },
    workspace=lambda static, features, kernel, rows: _sizes(
        static.groups, rows.shape[0], features, rows.shape[1], static.out_channels(kernel)
    ),
    room="voxel",
)


def _kernel_shape(groups: int, features, cotangent, rows) -> tuple[int, int, int]:
    return rows.shape[0], features.shape[1] // groups, cotangent.shape[1]


def _kernel_grad_bytes(groups: int, features, cotangent, rows) -> int:
    weights = math.prod(_kernel_shape(groups, features, cotangent, rows))
    itemsize = np.dtype(wide_dtype(features.dtype)).itemsize
    return _cuda_workspace.kernel_grad(cotangent.shape[0], weights, itemsize)


# features[N, Ci], cotangent[M, Co], rows[K, M] -> out[K, Ci / groups, Co] in the type of the accumulator
map_conv_kernel_grad = Kernel(
    "map_conv_kernel_grad",
    "features, cotangent, rows -> out",
    results=lambda groups, *operands: [
        (_kernel_shape(groups, *operands), wide_dtype(operands[0].dtype))
    ],
    attributes=lambda groups: {"groups": groups},
    workspace=lambda groups, features, cotangent, rows: _sizes(
        groups, rows.shape[0], features, rows.shape[1], cotangent.shape[1]
    ),
    cuda_bytes=_kernel_grad_bytes,
    room="voxel",
)
