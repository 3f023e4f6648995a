"""The convolution, and the three bilinear maps at given keys."""

from typing import NamedTuple

from jaxsparse._core.kernel import Attributes, Kernel
from jaxsparse._core.windows import Convolution
from jaxsparse.direct._kernels.results import entries


class Convolve(NamedTuple):
    """Static parameters of ``conv``."""

    geometry: Convolution
    capacity: int
    select: int


def _geometry(geometry: Convolution) -> Attributes:
    return {
        "spatial_shape": geometry.spatial_shape,
        "out_shape": geometry.out_shape,
        "strides": geometry.strides,
        "padding": [side for pair in geometry.padding for side in pair],
        "dilation": geometry.dilation,
    }


def _conv_workspace(
    geometry: Convolution, xk, out_channels: int, out_capacity: int, dtype
) -> Attributes:
    return {
        **_geometry(geometry),
        "kernel_shape": geometry.kernel_shape,
        "in_channels": xk.shape[1],
        "out_channels": out_channels,
        "capacity": xk.shape[2],
        "out_capacity": out_capacity,
        "itemsize": dtype.itemsize,
    }


def _responses_workspace(static: Convolve, xk, xv, kernel, bias, mask) -> Attributes:
    return _conv_workspace(static.geometry, xk, kernel.shape[-1], static.capacity, xv.dtype)


def _values_workspace(geometry: Convolution, xk, xv, kernel, mask, yk) -> Attributes:
    return _conv_workspace(geometry, xk, yk.shape[1], yk.shape[2], xv.dtype)


def _input_grad_workspace(geometry: Convolution, xk, kernel, mask, yk, gy) -> Attributes:
    return _conv_workspace(geometry, xk, yk.shape[1], yk.shape[2], gy.dtype)


def _kernel_grad_workspace(geometry: Convolution, xk, xv, mask, yk, gy) -> Attributes:
    return _conv_workspace(geometry, xk, yk.shape[1], yk.shape[2], gy.dtype)


# The convolution: responses, bias on the active ones, selection
conv = Kernel(
    "conv",
    "batch xk, batch xv, kernel, bias, mask -> batch yk, batch yv, batch nnz",
    results=lambda static, xk, xv, kernel, bias, mask: entries(
        (xk.shape[0], kernel.shape[-1], static.capacity), xv.dtype
    ),
    attributes=lambda static: {**_geometry(static.geometry), "select": static.select},
    workspace=_responses_workspace,
    cuda_workspace=_responses_workspace,
    optional={"bias": "xv", "mask": bool},
)

# The three bilinear maps at given keys; static is the geometry. Each one's gradients are the other two.
conv_at = Kernel(
    "conv_at",
    "batch xk, batch xv, kernel, mask, batch yk -> batch yv",
    results=lambda geometry, xk, xv, kernel, mask, yk: [(yk.shape, xv.dtype)],
    attributes=_geometry,
    workspace=_values_workspace,
    cuda_workspace=_values_workspace,
    optional={"mask": bool},
)

conv_input_grad = Kernel(
    "conv_input_grad",
    "batch xk, kernel, mask, batch yk, batch gy -> batch gx",
    results=lambda geometry, xk, kernel, mask, yk, gy: [(xk.shape, gy.dtype)],
    attributes=_geometry,
    workspace=_input_grad_workspace,
    cuda_workspace=_input_grad_workspace,
    optional={"mask": bool},
)

conv_kernel_grad = Kernel(
    "conv_kernel_grad",
    "batch xk, batch xv, mask, batch yk, batch gy -> sum gw",
    results=lambda geometry, xk, xv, mask, yk, gy: [
        ((*geometry.kernel_shape, xk.shape[1], yk.shape[1]), gy.dtype)
    ],
    attributes=_geometry,
    workspace=_kernel_grad_workspace,
    cuda_workspace=_kernel_grad_workspace,
    optional={"mask": bool},
)
