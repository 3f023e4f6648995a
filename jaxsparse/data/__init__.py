"""Point clouds and meshes to voxels, and random changes to them: plain NumPy, on the host."""

from jaxsparse.data.augment import (
    affine_points,
    jitter_points,
    random_rotation,
    rotate_points,
    scale_points,
    translate_points,
)
from jaxsparse.data.normalize import normalize_points
from jaxsparse.data.voxelize_points import batch_coords, voxelize_points

__all__ = [
    "affine_points",
    "batch_coords",
    "jitter_points",
    "normalize_points",
    "random_rotation",
    "rotate_points",
    "scale_points",
    "translate_points",
    "voxelize_points",
]
