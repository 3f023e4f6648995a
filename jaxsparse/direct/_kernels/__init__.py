"""The native kernels of this room, by family: what goes in, what comes out, what they need.

Letters in comments: B batch, C / Ci / Co channels, K slots of the input, Ko slots of the output, S the spatial shape,
T the number type (float32, float64, bfloat16, float16). Keys and sources are int32, the mask is bool, of the kernel's
shape.
"""

from jaxsparse.direct._kernels.channels import ChannelDot, channel_affine, channel_dot, channel_sum
from jaxsparse.direct._kernels.conv import (
    Convolve,
    conv,
    conv_at,
    conv_input_grad,
    conv_kernel_grad,
)
from jaxsparse.direct._kernels.convert import Sparsify, from_dense, gather_dense, to_dense
from jaxsparse.direct._kernels.entrywise import masked_scale, put_add, relu, take
from jaxsparse.direct._kernels.merge import Add, add
from jaxsparse.direct._kernels.pool import (
    Pool,
    avg_pool,
    global_avg_pool,
    global_avg_pool_grad,
    global_max_pool,
    max_pool,
    window_spread,
    window_sum,
)

__all__ = [
    "Add",
    "ChannelDot",
    "Convolve",
    "Pool",
    "Sparsify",
    "add",
    "avg_pool",
    "channel_affine",
    "channel_dot",
    "channel_sum",
    "conv",
    "conv_at",
    "conv_input_grad",
    "conv_kernel_grad",
    "from_dense",
    "gather_dense",
    "global_avg_pool",
    "global_avg_pool_grad",
    "global_max_pool",
    "masked_scale",
    "max_pool",
    "put_add",
    "relu",
    "take",
    "to_dense",
    "window_spread",
    "window_sum",
]
