"""Sums over all entries of a channel, and an affine map of each channel."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxsparse._core.kernel import Kernel
from jaxsparse.direct._kernels.results import list_sizes, volume_attribute

# keys[B, C, K], g[B, C, K] -> out[C]: sum over stored entries and the batch; static is the volume
channel_sum = Kernel(
    "channel_sum",
    "batch keys, batch g -> sum total",
    results=lambda volume, keys, g: [((keys.shape[1],), g.dtype)],
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
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
    cuda_workspace=list_sizes,
)

# keys, x[B, C, K] -> out[B, C, K]: x * scale + offset at stored entries; static is the volume
channel_affine = Kernel(
    "channel_affine",
    "batch keys, batch x, shift, scale, offset -> batch out",
    results=lambda volume, keys, x, shift, scale, offset: [(keys.shape, scale.dtype)],
    attributes=volume_attribute,
    optional={"x": "scale", "shift": "scale", "offset": "scale"},
    cuda_workspace=list_sizes,
)
