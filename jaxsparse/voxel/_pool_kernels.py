"""The kernels of pooling: over the taps of kernel maps, and over the rows of each batch element."""

import jax.numpy as jnp

from jaxsparse._core.kernel import Kernel
from jaxsparse.voxel import _cuda_workspace

# x[N, C], map[K, M], background[C] or None -> y[M, C], source[M, C]: the row of a maximum, N for the background's, N + 1 for
# none
pool_max = Kernel(
    "pool_max",
    "x, map, background -> y, source",
    results=lambda static, x, map, background: [
        ((map.shape[1], x.shape[1]), x.dtype),
        ((map.shape[1], x.shape[1]), jnp.int32),
    ],
    optional={"background": "x"},
    room="voxel",
)

# y[M, C], source[M, C], reverse[K, N] -> x[N, C]
pool_put = Kernel(
    "pool_put",
    "y, source, reverse -> x",
    results=lambda static, y, source, reverse: [((reverse.shape[1], y.shape[1]), y.dtype)],
    room="voxel",
)

# x[N, C], map[K, M] -> y[M, C]
pool_sum = Kernel(
    "pool_sum",
    "x, map -> y",
    results=lambda static, x, map: [((map.shape[1], x.shape[1]), x.dtype)],
    room="voxel",
)

# x[N, C], segment[N] -> y[S, C]; the static parameter: S
segment_sum = Kernel(
    "segment_sum",
    "x, segment -> y",
    results=lambda segments, x, segment: [((segments, x.shape[1]), x.dtype)],
    cuda_bytes=lambda segments, x, segment: _cuda_workspace.segments(
        x.shape[0], segments, x.shape[1], 8
    ),
    room="voxel",
)

# x[N, C], segment[N] -> y[S, C], source[S, C]: the row of a maximum, N + 1 for none
segment_max = Kernel(
    "segment_max",
    "x, segment -> y, source",
    results=lambda segments, x, segment: [
        ((segments, x.shape[1]), x.dtype),
        ((segments, x.shape[1]), jnp.int32),
    ],
    cuda_bytes=lambda segments, x, segment: _cuda_workspace.segments(
        x.shape[0], segments, x.shape[1], 4
    ),
    room="voxel",
)
