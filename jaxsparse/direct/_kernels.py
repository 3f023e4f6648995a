"""The native kernels of this room: what goes in, what comes out, what they need.

Letters in comments: B batch, C / Ci / Co channels, K slots of the input, Ko slots of the output, S the spatial shape,
T the number type (float32, float64, bfloat16, float16). Keys and sources are int32, the mask is bool, of the kernel's
shape.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxsparse._core.kernel import Attributes, Kernel, Shape
from jaxsparse._core.windows import Convolution, Pooling


class Sparsify(NamedTuple):
    """Static parameters of ``from_dense``."""

    capacity: int
    select: int


class Convolve(NamedTuple):
    """Static parameters of ``conv``."""

    geometry: Convolution
    capacity: int
    select: int


class Pool(NamedTuple):
    """Static parameters of ``max_pool``."""

    geometry: Pooling
    capacity: int


def _entries(slots: Shape, dtype: Any) -> list:
    """Results keys, values, nnz."""
    return [(slots, jnp.int32), (slots, dtype), (slots[:2], jnp.int32)]


# ---- Dense and back ------------------------------------------------------------------------------------------------


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
    results=lambda static, x: _entries((x.shape[0], x.shape[-1], static.capacity), x.dtype),
    attributes=lambda static: {"select": static.select},
    workspace=_from_dense_workspace,
)

# keys[B, C, K], values[B, C, K] -> dense[B, *S, C]; static is S
to_dense = Kernel(
    "to_dense",
    "batch keys, batch values -> batch dense",
    results=lambda spatial_shape, keys, values: [
        ((keys.shape[0], *spatial_shape, keys.shape[1]), values.dtype)
    ],
)

# keys[B, C, K], dense[B, *S, C] -> values[B, C, K]: the adjoint of to_dense; static is None
gather_dense = Kernel(
    "gather_dense",
    "batch keys, batch dense -> batch values",
    results=lambda static, keys, dense: [(keys.shape, dense.dtype)],
)


# ---- Convolution -----------------------------------------------------------------------------------------------------


def _geometry(geometry: Convolution) -> Attributes:
    return {
        "spatial_shape": geometry.spatial_shape,
        "out_shape": geometry.out_shape,
        "strides": geometry.strides,
        "padding": [side for pair in geometry.padding for side in pair],
        "dilation": geometry.dilation,
    }


def _conv_workspace(geometry: Convolution, xk, out_channels: int, out_capacity: int, dtype):
    return {
        **_geometry(geometry),
        "kernel_shape": geometry.kernel_shape,
        "in_channels": xk.shape[1],
        "out_channels": out_channels,
        "capacity": xk.shape[2],
        "out_capacity": out_capacity,
        "itemsize": dtype.itemsize,
    }


# The convolution: responses, bias on the active ones, selection
conv = Kernel(
    "conv",
    "batch xk, batch xv, kernel, bias, mask -> batch yk, batch yv, batch nnz",
    results=lambda static, xk, xv, kernel, bias, mask: _entries(
        (xk.shape[0], kernel.shape[-1], static.capacity), xv.dtype
    ),
    attributes=lambda static: {**_geometry(static.geometry), "select": static.select},
    workspace=lambda static, xk, xv, kernel, bias, mask: _conv_workspace(
        static.geometry, xk, kernel.shape[-1], static.capacity, xv.dtype
    ),
    optional={"bias": "xv", "mask": bool},
)

# The three bilinear maps at given keys; static is the geometry. Each one's gradients are the other two.
conv_at = Kernel(
    "conv_at",
    "batch xk, batch xv, kernel, mask, batch yk -> batch yv",
    results=lambda geometry, xk, xv, kernel, mask, yk: [(yk.shape, xv.dtype)],
    attributes=_geometry,
    workspace=lambda geometry, xk, xv, kernel, mask, yk: _conv_workspace(
        geometry, xk, yk.shape[1], yk.shape[2], xv.dtype
    ),
    optional={"mask": bool},
)

conv_input_grad = Kernel(
    "conv_input_grad",
    "batch xk, kernel, mask, batch yk, batch gy -> batch gx",
    results=lambda geometry, xk, kernel, mask, yk, gy: [(xk.shape, gy.dtype)],
    attributes=_geometry,
    workspace=lambda geometry, xk, kernel, mask, yk, gy: _conv_workspace(
        geometry, xk, yk.shape[1], yk.shape[2], gy.dtype
    ),
    optional={"mask": bool},
)

conv_kernel_grad = Kernel(
    "conv_kernel_grad",
    "batch xk, batch xv, mask, batch yk, batch gy -> sum gw",
    results=lambda geometry, xk, xv, mask, yk, gy: [
        ((*geometry.kernel_shape, xk.shape[1], yk.shape[1]), gy.dtype)
    ],
    attributes=_geometry,
    workspace=lambda geometry, xk, xv, mask, yk, gy: _conv_workspace(
        geometry, xk, yk.shape[1], yk.shape[2], gy.dtype
    ),
    optional={"mask": bool},
)

# keys[B, C, K], g[B, C, K] -> out[C]: sum over stored entries and the batch; static is the volume
channel_sum = Kernel(
    "channel_sum",
    "batch keys, batch g -> sum total",
    results=lambda volume, keys, g: [((keys.shape[1],), g.dtype)],
    attributes=lambda volume: {"volume": volume},
)


# ---- Activation and pooling ------------------------------------------------------------------------------------------


def _chosen(slots: Shape, dtype: Any) -> list:
    """Results keys, values, nnz, source: the slot of the input that each output came from, -1 for none."""
    return [*_entries(slots, dtype), (slots, jnp.int32)]


# The positive entries; static is the volume
relu = Kernel(
    "relu",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch source",
    results=lambda volume, xk, xv: _chosen(xk.shape, xv.dtype),
    attributes=lambda volume: {"volume": volume},
)


def _pool_workspace(static: Pool, xk, xv) -> Attributes:
    return {
        **static.geometry._asdict(),
        "capacity": xk.shape[2],
        "out_capacity": static.capacity,
        "itemsize": xv.dtype.itemsize,
    }


# The maximum of the stored entries of each window
max_pool = Kernel(
    "max_pool",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch source",
    results=lambda static, xk, xv: _chosen((*xk.shape[:2], static.capacity), xv.dtype),
    attributes=lambda static: static.geometry._asdict(),
    workspace=_pool_workspace,
)

# values[B, C, K], source[B, C, Ko] -> out[B, C, Ko]: 0 where the source is out of [0, K); static is None
take = Kernel(
    "take",
    "batch values, batch source -> batch out",
    results=lambda static, values, source: [(source.shape, values.dtype)],
)

# g[B, C, Ko], source[B, C, Ko] -> out[B, C, K]: the adjoint of take; static is K
put_add = Kernel(
    "put_add",
    "batch g, batch source -> batch out",
    results=lambda slots, g, source: [((*g.shape[:2], slots), g.dtype)],
    workspace=lambda slots, g, source: {"capacity": slots, "itemsize": g.dtype.itemsize},
)
