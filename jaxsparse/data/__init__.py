"""Point clouds, meshes and sweeps to voxels and maps, and random changes to them: plain NumPy, on the host."""

from jaxsparse.data.augment import (
    affine_points,
    jitter_points,
    random_rotation,
    rotate_points,
    scale_points,
    translate_points,
)
from jaxsparse.data.birds_eye import (
    BirdsEyeGrid,
    birds_eye_map,
    box_mask,
    ground_mask,
    occupied_mask,
)
from jaxsparse.data.mesh import Mesh, load_mesh
from jaxsparse.data.normalize import normalize_points
from jaxsparse.data.voxelize_mesh import voxelize_mesh
from jaxsparse.data.voxelize_points import batch_coords, voxelize_points

__all__ = [
    "BirdsEyeGrid",
    "Mesh",
    "affine_points",
    "batch_coords",
    "birds_eye_map",
    "box_mask",
    "ground_mask",
    "jitter_points",
    "load_mesh",
    "normalize_points",
    "occupied_mask",
    "random_rotation",
    "rotate_points",
    "scale_points",
    "translate_points",
    "voxelize_mesh",
    "voxelize_points",
]
