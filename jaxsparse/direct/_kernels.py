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
    """Static parameters of ``max_pool`` and ``avg_pool``."""

    geometry: Pooling
    capacity: int


def _entries(slots: Shape, dtype: Any) -> list:
    """Results keys, values, nnz."""
    return [(slots, jnp.int32), (slots, dtype), (slots[:2], jnp.int32)]


def _volume(volume: int) -> Attributes:
    return {"volume": volume}


def _lists(static: Any, keys: Any, *others: Any) -> Attributes:
    """Sizes of the workspace on the GPU: of kernels that go over the lists ``keys``."""
    return {"channels": keys.shape[1], "capacity": keys.shape[2]}


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
    cuda_workspace=_from_dense_workspace,
)

# keys[B, C, K], values[B, C, K] -> dense[B, *S, C]; static is S
to_dense = Kernel(
    "to_dense",
    "batch keys, batch values -> batch dense",
    results=lambda spatial_shape, keys, values: [
        ((keys.shape[0], *spatial_shape, keys.shape[1]), values.dtype)
    ],
    cuda_workspace=_lists,
)

# keys[B, C, K], dense[B, *S, C] -> values[B, C, K]: the adjoint of to_dense; static is None
gather_dense = Kernel(
    "gather_dense",
    "batch keys, batch dense -> batch values",
    results=lambda static, keys, dense: [(keys.shape, dense.dtype)],
    cuda_workspace=_lists,
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
    cuda_workspace=lambda static, xk, xv, kernel, bias, mask: _conv_workspace(
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
    cuda_workspace=lambda geometry, xk, xv, kernel, mask, yk: _conv_workspace(
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
    cuda_workspace=lambda geometry, xk, kernel, mask, yk, gy: _conv_workspace(
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
    cuda_workspace=lambda geometry, xk, xv, mask, yk, gy: _conv_workspace(
        geometry, xk, yk.shape[1], yk.shape[2], gy.dtype
    ),
    optional={"mask": bool},
)

# keys[B, C, K], g[B, C, K] -> out[C]: sum over stored entries and the batch; static is the volume
channel_sum = Kernel(
    "channel_sum",
    "batch keys, batch g -> sum total",
    results=lambda volume, keys, g: [((keys.shape[1],), g.dtype)],
    attributes=_volume,
    cuda_workspace=_lists,
)


class ChannelDot(NamedTuple):
    """Static parameters of ``channel_dot``; ``dtype`` is that of the result."""

    volume: int
    dtype: str


# Two kernels in float32 or float64. Entries are x - shift, or 1 where x is None; a shift or offset None is 0; shifts,
# scale and offset have shape [C].
# keys, a, b[B, C, K] -> out[C]: sum of a * b over stored entries and the batch
channel_dot = Kernel(
    "channel_dot",
    "batch keys, batch a, a_shift, batch b, b_shift -> sum total",
    results=lambda static, keys, a, a_shift, b, b_shift: [((keys.shape[1],), static.dtype)],
    attributes=lambda static: {"volume": static.volume},
    optional={"a": jnp.float32, "a_shift": jnp.float32, "b": jnp.float32, "b_shift": jnp.float32},
    cuda_workspace=_lists,
)

# keys, x[B, C, K] -> out[B, C, K]: x * scale + offset at stored entries; static is the volume
channel_affine = Kernel(
    "channel_affine",
    "batch keys, batch x, shift, scale, offset -> batch out",
    results=lambda volume, keys, x, shift, scale, offset: [(keys.shape, scale.dtype)],
    attributes=_volume,
    optional={"x": "scale", "shift": "scale", "offset": "scale"},
    cuda_workspace=_lists,
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
    attributes=_volume,
    cuda_workspace=_lists,
)


# values[B, C, K] times factors[0] where the mask is True, else factors[1]; factors: [2], float32 or float64; static is
# the volume
masked_scale = Kernel(
    "masked_scale",
    "batch keys, batch values, batch mask, factors -> batch out",
    results=lambda volume, keys, values, mask, factors: [(values.shape, values.dtype)],
    attributes=_volume,
    cuda_workspace=_lists,
)


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
    results=lambda static, xk, xv: _chosen((*xk.shape[:2], static.capacity), xv.dtype),
    attributes=lambda static: static.geometry._asdict(),
    workspace=_pool_workspace,
    cuda_workspace=_pool_on_cuda,
)

# The mean of the stored entries of each window, and of how many it is: int32, 0 in unused slots
avg_pool = Kernel(
    "avg_pool",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch count",
    results=lambda static, xk, xv: _chosen((*xk.shape[:2], static.capacity), xv.dtype),
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
    results=lambda volume, xk, xv: _chosen((*xk.shape[:2], 1), xv.dtype),
    attributes=_volume,
    cuda_workspace=_lists,
)

# keys[B, C, K], values[B, C, K] -> mean[B, C], and its adjoint
global_avg_pool = Kernel(
    "global_avg_pool",
    "batch keys, batch values -> batch mean",
    results=lambda volume, keys, values: [(keys.shape[:2], values.dtype)],
    attributes=_volume,
    cuda_workspace=_lists,
)

global_avg_pool_grad = Kernel(
    "global_avg_pool_grad",
    "batch keys, batch g -> batch out",
    results=lambda volume, keys, g: [(keys.shape, g.dtype)],
    attributes=_volume,
    cuda_workspace=_lists,
)


# ---- Merging -----------------------------------------------------------------------------------------------------------


class Add(NamedTuple):
    """Static parameters of ``add``."""

    volume: int
    capacity: int


def _add_results(static: Add, xk, xv, yk, yv) -> list:
    slots = (*xk.shape[:2], static.capacity)
    return [*_chosen(slots, xv.dtype), (slots, jnp.int32)]


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


# ---- Values along sources ----------------------------------------------------------------------------------------------

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
    cuda_workspace=lambda slots, g, source: {
        "channels": g.shape[1],
        "capacity": slots,
        "in_capacity": g.shape[2],
    },
)
