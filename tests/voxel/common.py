"""The grid of cases that tests of this room share."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import voxel
from tests import oracle_voxel

BATCH = 2

# (spatial shape, arguments of a convolution)
CASES = {
    "1d": ((13,), {"kernel_size": 3}),
    "1d even": ((13,), {"kernel_size": 4}),
    "1d dilated": ((13,), {"kernel_size": 3, "kernel_dilation": 3}),
    "1d stride": ((13,), {"kernel_size": 3, "strides": 2}),
    "1d stride above the kernel": ((13,), {"kernel_size": 2, "strides": 5}),
    "2d": ((6, 7), {"kernel_size": 3}),
    "2d pool 2": ((6, 7), {"kernel_size": 2, "strides": 2, "padding": "VALID"}),
    "2d pool 3/2": ((6, 7), {"kernel_size": 3, "strides": 2, "padding": "VALID"}),
    "2d uneven": ((6, 7), {"kernel_size": (2, 3), "strides": (1, 2), "kernel_dilation": (2, 1)}),
    "2d stride and dilation": ((6, 7), {"kernel_size": 3, "strides": 2, "kernel_dilation": 2}),
    "2d explicit": ((6, 7), {"kernel_size": 3, "padding": ((2, 0), (0, 3))}),
    "2d negative padding": ((6, 7), {"kernel_size": 2, "padding": ((-2, 1), (1, -1))}),
    "3d": ((4, 5, 6), {"kernel_size": 3}),
    "3d stride": ((4, 5, 6), {"kernel_size": 3, "strides": 2}),
    "3d even": ((4, 5, 6), {"kernel_size": (2, 4, 2), "strides": (1, 2, 1)}),
    "3d point": ((4, 5, 6), {"kernel_size": 1}),
    "4d": ((3, 4, 3, 4), {"kernel_size": (2, 3, 1, 2), "strides": (1, 2, 1, 2)}),
}


def window_of(spatial, arguments):
    """The oracle's window of a case."""
    names = {"kernel_dilation": "dilation", "kernel_size": "kernel"}
    return oracle_voxel.window(spatial, **{names.get(k, k): v for k, v in arguments.items()})


def transposed_window_of(spatial, arguments):
    names = {"kernel_dilation": "dilation", "kernel_size": "kernel"}
    given = {"strides": 1, **arguments}
    return oracle_voxel.transposed_window(spatial, **{names.get(k, k): v for k, v in given.items()})


def some_rows(rng, spatial, batch=BATCH, share=0.3):
    """Active sites, int32 ``[n, 1 + d]``, in canonical order."""
    every = np.array(list(np.ndindex(batch, *spatial)), np.int32)
    return every[rng.random(len(every)) < share]


def tensor(rows, spatial, features=None, batch=BATCH, capacity=None, background=None):
    """A list of these sites; without features one channel of ones."""
    capacity = max(len(rows), 1) if capacity is None else capacity
    if features is None:
        features = np.ones((len(rows), 1), np.float32)
    values = np.zeros((capacity, features.shape[1]), features.dtype)
    values[: len(rows)] = features[:capacity]
    return voxel.VoxelTensor(
        jnp.asarray(oracle_voxel.listed(rows, batch, capacity)),
        jnp.asarray(values),
        jnp.int32(len(rows)),
        batch,
        tuple(spatial),
        None if background is None else jnp.asarray(background),
    )


def precision(dtype):
    return jax.enable_x64(np.dtype(dtype).itemsize == 8)
