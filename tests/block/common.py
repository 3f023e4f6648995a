"""The grid of cases that tests of this room share."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import block
from jaxsparse.block import BlockIndices, Geometry

regular = Geometry.regular

# Windows and tiles the same: offsets negative and uneven, strides below, at and above the size, 1 to 3 dimensions.
GRIDS = {
    "1d": regular((13,), 4),
    "1d overlap": regular((13,), 5, stride=2, offset=-3),
    "1d holes": regular((13,), 2, stride=5, offset=1),
    "2d": regular((9, 12), (3, 4)),
    "2d uneven offsets": regular((9, 12), (4, 3), offset=(-3, 2)),
    "2d overlap": regular((9, 12), (5, 4), stride=(2, 3), offset=(-2, -1)),
    "2d deep overlap": regular((7, 8), 5, stride=1, offset=-4, grid=(11, 12)),
    "2d overlap one way": regular((9, 12), (2, 6), stride=(4, 1)),
    "2d holes": regular((9, 12), 2, stride=(5, 4), offset=(0, -1)),
    "2d one pixel": regular((5, 6), 1),
    "2d larger than the image": regular((5, 6), (9, 7), offset=-2),
    "2d outside of the image": regular((5, 6), 3, offset=(-9, 0), grid=(6, 3)),
    "3d": regular((5, 6, 7), (2, 3, 4)),
    "3d overlap": regular((5, 6, 7), (3, 2, 4), stride=(2, 1, 3), offset=(-1, 0, -2)),
}

# Chains of convolutions: (spatial shape, block size, arguments of block.geometry).
CHAINS = {
    "3": ((9, 12), 6, {"kernel_sizes": (3,)}),
    "1d": ((17,), 7, {"kernel_sizes": (3, 2)}),
    "unit": ((9, 12), (6, 8), {"kernel_sizes": (1, 3, 1)}),
    "two": ((9, 12), (7, 9), {"kernel_sizes": (3, (3, 5))}),
    "stride": ((9, 12), (7, 8), {"kernel_sizes": (3,), "strides": 2}),
    "stride, even size": ((10, 13), (8, 9), {"kernel_sizes": (3,), "strides": (2,)}),
    "stride above the kernel": ((10, 13), (8, 9), {"kernel_sizes": (1,), "strides": ((3, 2),)}),
    "stride inside a chain": ((11, 14), 14, {"kernel_sizes": (3, 3, 1), "strides": (1, 2, 1)}),
    "dilation": ((11, 14), 9, {"kernel_sizes": (3, 3), "kernel_dilations": (1, 2)}),
    "stride and dilation": ((11, 14), 8, {"kernel_sizes": 3, "strides": 2, "kernel_dilations": 2}),
    "even kernel": ((9, 12), (5, 6), {"kernel_sizes": ((2, 4),)}),
    "valid": ((9, 12), 6, {"kernel_sizes": (3, 2), "padding": "VALID"}),
    "explicit": ((9, 12), 6, {"kernel_sizes": (3,), "padding": (((2, 0), (0, 3)),)}),
    "negative padding": ((9, 12), 6, {"kernel_sizes": (3,), "padding": (((-2, 1), (1, -3)),)}),
    "mixed": ((9, 12), 8, {"kernel_sizes": (3, 3), "padding": ("VALID", "SAME")}),
    "3d": ((6, 5, 7), (4, 5, 6), {"kernel_sizes": (3,)}),
    "3d stride": ((6, 5, 7), (5, 5, 6), {"kernel_sizes": (3, 1), "strides": ((2, 1, 2), 1)}),
}


def chain(name) -> Geometry:
    shape, size, arguments = CHAINS[name]
    return block.geometry(shape, size, **arguments)


def some_rows(geometry, batch, rng, share=0.4):
    """Active blocks, int [n, 1 + d], in raster order."""
    every = np.array(list(np.ndindex(batch, *geometry.grid)), np.int32)
    return every[rng.random(len(every)) < share]


def listed(geometry, rows, batch, capacity=None) -> BlockIndices:
    capacity = max(len(rows), 1) if capacity is None else capacity
    indices = np.zeros((capacity, 1 + geometry.dims), np.int32)
    indices[:, 0] = batch
    indices[: len(rows)] = rows
    return BlockIndices(jax.device_put(indices), jnp.int32(len(rows)), geometry)


def transposed(y):
    """[M, *size, C] as [M, C, *size]."""
    return np.moveaxis(np.asarray(y), -1, 1)


def normal(rng, *shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def precision(dtype):
    return jax.enable_x64(np.dtype(dtype).itemsize == 8)
