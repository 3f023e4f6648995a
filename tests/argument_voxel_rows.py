"""What rows of the table of arguments about `VoxelTensor` start from."""

import jax.numpy as jnp
import numpy as np

from jaxsparse import voxel
from tests.argument_rows import Late, f32, i32, type_error, value_error

COORDS = i32([[0, 0, 1], [0, 3, 4], [1, 0, 0]])  # the last one is not in use


def container(**changes) -> voxel.VoxelTensor:
    """Unchecked: batch 1, 4 x 5 voxels, 2 channels, capacity 3; two sites."""
    fields = {
        "coords": COORDS,
        "features": np.array([[1, 2], [3, 4], [0, 0]], np.float32),
        "count": i32(2),
        "batch_size": 1,
        "spatial_shape": (4, 5),
    } | changes
    arrays = {k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
    return voxel.VoxelTensor(**arrays)


def v(**changes) -> Late:
    return Late(lambda: container(**changes))


GROUND = v(background=f32(2))


def voxels(name: str = "x") -> tuple:
    """What every function that takes a container says of a bad one."""
    return (
        (name, "an array", f32(1, 4, 5, 2), type_error(f"{name} must be a voxel.VoxelTensor")),
        (name, "coords of rank 1", v(coords=i32([0, 0, 1])), value_error(f"{name}.coords must be of rank 2")),
        (name, "coords of floats", v(coords=f32(3, 3)), type_error(f"{name}.coords must be of dtype int32")),
        (name, "features of integers", v(features=COORDS), type_error(f"{name}.features must be of dtype float16")),
        (name, "features of another number of rows", v(features=f32(2, 2)), value_error(f"{name}.features must be of shape [N, C] with N = 3")),
        (name, "a background of another number of channels", v(background=f32(3)), value_error(f"{name}.background must be of shape (2,)")),
        (name, "5 spatial dimensions", v(spatial_shape=(2,) * 5), value_error("spatial_shape must be 1 to 4 integers")),
    )  # fmt: skip


NO_GROUND = ("x", "with a background", GROUND, value_error("x must be without background"))
PLANS = (
    ("plan", "an array", COORDS, type_error("plan must be an entry of a voxel.plan")),
    ("plan", "for another geometry", Late(lambda: voxel.plan(container(), [voxel.Layer("conv", 4, 3)])[0]), value_error("plan must be for a batch of 1 and")),
)  # fmt: skip
