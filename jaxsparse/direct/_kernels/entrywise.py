"""Entry by entry: activation, scaling by a mask, values along sources."""

from jaxsparse._core.kernel import Kernel
from jaxsparse.direct._kernels.results import chosen, list_sizes, volume_attribute

# The positive entries; static is the volume
relu = Kernel(
    "relu",
    "batch xk, batch xv -> batch yk, batch yv, batch nnz, batch source",
    results=lambda volume, xk, xv: chosen(xk.shape, xv.dtype),
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
)


# values[B, C, K] times factors[0] where the mask is True, else factors[1]; factors: [2], float32 or float64; static is
# the volume
masked_scale = Kernel(
    "masked_scale",
    "batch keys, batch values, batch mask, factors -> batch out",
    results=lambda volume, keys, values, mask, factors: [(values.shape, values.dtype)],
    attributes=volume_attribute,
    cuda_workspace=list_sizes,
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
    cuda_workspace=lambda slots, g, source: {
        "channels": g.shape[1],
        "capacity": slots,
        "in_capacity": g.shape[2],
    },
)
