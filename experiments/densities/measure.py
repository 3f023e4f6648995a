"""The numbers: voxels of every mesh at every resolution, and where they are going."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.meshes import SUFFIXES
from experiments.errors import DataError
from experiments.provenance import PACKAGES, provenance
from jaxsparse.data import Mesh, load_mesh, voxelize_mesh


def measure(roots: Sequence[Path], resolutions: Sequence[int]) -> dict[str, Any]:
    """Voxelises the surface of every mesh below some folders, each in its bounding cube.

    Returns:
      JSON-like: of each mesh its voxels by resolution, whether it is watertight, and what density times resolution tends to.

    Raises:
      DataError: a folder is none, there is no mesh, or all of them are broken.
    """
    files = []
    for root in roots:
        if not root.is_dir():
            raise DataError(f"no folder: {root}")
        found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
        files += [(f"{root.resolve().name}/{path.relative_to(root)}", path) for path in found]
    if not files:
        raise DataError(f"no meshes ({' '.join(SUFFIXES)}) below {', '.join(map(str, roots))}")
    meshes, skipped = [], []
    for name, path in files:
        try:
            mesh = load_mesh(path)
            voxels = {str(r): len(voxelize_mesh(mesh, r)) for r in resolutions}
        except ImportError as error:
            raise DataError(str(error)) from None
        except ValueError as error:
            print(f"{name}: broken, left out ({error})", flush=True)
            skipped.append({"name": name, "problem": str(error).replace(str(path), name)})
            continue
        row = {
            "name": name,
            "faces": len(mesh.faces),
            "watertight": mesh.watertight,
            "limit": round(limit(mesh), 4),
            "voxels": voxels,
        }
        print(name, *(f"{r}: {n}" for r, n in voxels.items()), flush=True)
        meshes.append(row)
    if not meshes:
        raise DataError(f"all {len(files)} meshes are broken")
    return {
        "kind": "densities",
        "provenance": provenance((*PACKAGES, "trimesh")),
        "resolutions": list(resolutions),
        "meshes": meshes,
        "skipped": skipped,
    }


def limit(mesh: Mesh) -> float:
    """What density times resolution tends to, if no two triangles share voxels: a flat piece of area A and normal n meets
    A (|n_x| + |n_y| + |n_z|) unit cubes on average, 1.5 A over all directions."""
    corners = np.asarray(mesh.vertices)[np.asarray(mesh.faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2
    edge = np.ptp(corners.reshape(-1, 3), axis=0).max()
    return float(np.abs(normals).sum() / edge**2)
