"""Which voxels a mesh touches or encloses."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.data import _arguments
from jaxsparse.data._triangles import touched_voxels
from jaxsparse.data.mesh import Mesh, checked, load_mesh
from jaxsparse.data.voxelize_points import FITS, fitted_box

FILLS = ("surface", "solid")
LARGEST = 512
"""Voxels a dimension: the volume is held, a byte a voxel."""


def voxelize_mesh(
    mesh: Any,
    resolution: int | Sequence[int],
    *,
    fill: str = "surface",
    padding: int = 0,
    bounds: tuple[Any, Any] | None = None,
    fit: str | None = None,
) -> np.ndarray:
    """The voxels that a mesh touches, or touches and encloses.

    ``"surface"`` is conservative and exact: a voxel and a triangle, both with their boundaries, have a point in common (for
    the vertices in units of voxels, rounded to float64). So a triangle that lies in the face between two voxels touches
    both. ``"solid"`` adds all that cannot be reached from outside through the faces of untouched voxels. A watertight mesh
    is thus filled, cavities included, whatever the orientation of its triangles and however they intersect. Of a mesh
    that is not (:attr:`Mesh.watertight`), a gap that no untouched voxel fits into is as good as closed; behind a wider one
    the inside is outside and stays empty, and only what the surface touches is set.

    Args:
      mesh: a :class:`Mesh`, a pair ``(vertices, faces)``, or the path of a file for :func:`load_mesh`.
      resolution: voxels of each dimension, or one number for all; at most 512.
      fill: ``"surface"`` or ``"solid"``.
      padding: so many voxels at either end of every dimension stay empty; the box fills what lies between.
      bounds: as in :func:`voxelize_points`: the box that fills the volume; what lies outside is cut off, and a solid that is
        cut is open there.
      fit: as in :func:`voxelize_points`, of the vertices that triangles use: ``"cube"`` (the default) or ``"sphere"``.

    Returns:
      int32 ``[M, 3]``: distinct voxels, ascending in row-major order. Memory beside it: two bytes a voxel of the volume and
      some ten megabytes.

    Raises:
      ValueError: a shape is another, a coordinate is not finite, a face names no vertex, the padding leaves no voxel, the box
        is empty, the resolution is more than 512; ``bounds`` and ``fit`` are both given; ``fill`` or ``fit`` is unknown.
      TypeError: not numbers, not integers, no mesh.

    Source: the separating axis test of Akenine-Möller (2001). ``"solid"`` fills from outside as binvox does (Nooruddin & Turk 2003), over the
    conservative surface.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
      >>> tetrahedron = data.Mesh(corners, [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
      >>> tetrahedron.watertight
      True
      >>> [len(data.voxelize_mesh(tetrahedron, 16, fill=fill)) for fill in ("surface", "solid")]
      [746, 966]
    """
    name = "voxelize_mesh"
    vertices, faces = checked(name, _mesh(name, mesh))
    checks.one_of(name, "fill", fill, FILLS)
    sizes, margin = _arguments.grid(name, resolution, padding, 3)
    if sizes.max() > LARGEST:
        raise ValueError(expected(name, "resolution", f"at most {LARGEST}", int(sizes.max())))
    if bounds is not None and fit is not None:
        raise ValueError(expected(name, "fit", "left out where bounds are given", repr(fit)))
    inner = sizes - 2 * margin
    if bounds is not None:
        lower, upper = _arguments.bounds(name, bounds, 3)
        edges = (upper - lower) / inner
    else:
        fit = checks.one_of(name, "fit", fit or "cube", FITS)
        lower, edges = fitted_box(vertices[np.unique(faces)], inner, fit)
    with np.errstate(over="ignore"):
        places = (vertices - lower) / edges + margin
    # Rounding must not push a mesh out of the box that was made for it.
    places = (
        np.clip(places, margin, margin + inner) if bounds is None else np.clip(places, -1e9, 1e9)
    )
    grid = np.zeros(tuple(sizes), bool)
    touched_voxels(places[faces], np.full(3, margin), margin + inner - 1, grid)
    if fill == "solid":
        grid = np.asarray(
            ndimage.binary_fill_holes(grid)
        )  # what a path of faces reaches from outside is outside
    return np.argwhere(grid).astype(np.int32)


def _mesh(function: str, value: Any) -> Mesh:
    if isinstance(value, Mesh):
        return value
    if isinstance(value, str | os.PathLike):
        return load_mesh(value)
    if isinstance(value, tuple) and len(value) == 2:
        return Mesh(*value)
    wording = "a Mesh, a pair (vertices, faces) or a path"
    raise TypeError(expected(function, "mesh", wording, checks.kind(value)))
