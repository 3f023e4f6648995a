"""Voxels as pictures: cubes in parallel projection, painted from far to near."""

import io
from typing import Any

import numpy as np

AZIMUTH, ELEVATION = np.radians(-52), np.radians(24)
"""Where one looks from; the third axis points up."""

LIGHT = (0.62, 0.80, 1.0)
"""Brightness of the faces towards the first axis, the second, and up."""


def view() -> tuple[np.ndarray, np.ndarray]:
    """The unit vector towards the viewer ``[3]``, and the two axes of the picture ``[2, 3]``."""
    towards = np.array(
        [
            np.cos(ELEVATION) * np.cos(AZIMUTH),
            np.cos(ELEVATION) * np.sin(AZIMUTH),
            np.sin(ELEVATION),
        ]
    )
    right = np.array([-np.sin(AZIMUTH), np.cos(AZIMUTH), 0.0])
    return towards, np.stack([right, np.cross(towards, right)])


def visible_faces(coords: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces that are turned to the viewer and not covered by a neighbour, from far to near.

    Cubes of a grid hide each other only if every coordinate of one is at least as near as the other's: any order by
    distance paints them right.

    Args:
      coords: integers ``[M, 3]``.

    Returns:
      Corners on the picture, float64 ``[F, 4, 2]``; the axis that each face is across, ``[F]``; the voxel it belongs
      to, ``[F]``.
    """
    towards, axes = view()
    coords = np.asarray(coords, np.int64)
    held = set(map(tuple, coords.tolist()))
    corners, across, owner = [], [], []
    for axis in range(3):
        sign = 1 if towards[axis] > 0 else -1
        step = np.eye(3, dtype=np.int64)[axis] * sign
        free = np.array([tuple(c) not in held for c in (coords + step).tolist()], bool)
        first, second = (np.eye(3)[other] for other in range(3) if other != axis)
        centre = coords[free] + 0.5 + 0.5 * step
        ring = [-first - second, first - second, first + second, second - first]
        corners.append(np.stack([centre + 0.5 * offset for offset in ring], axis=1))
        across.append(np.full(len(centre), axis))
        owner.append(np.flatnonzero(free))
    faces, axis_of, voxel = map(np.concatenate, (corners, across, owner))
    order = np.argsort(coords[voxel] @ towards, kind="stable")
    return (faces @ axes.T)[order], axis_of[order], voxel[order]


def draw_cubes(axes: Any, coords: np.ndarray) -> None:
    """Paints voxels, coloured by their height, into Matplotlib's axes, which lose their ticks and frame.

    Args:
      axes: of Matplotlib.
      coords: integers ``[M, 3]``; without any the axes stay empty.
    """
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection

    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if not len(coords):
        return
    corners, across, voxel = visible_faces(coords)
    height = coords[voxel, 2] - coords[:, 2].min()
    share = height / max(int(height.max()), 1)
    colours = colormaps["viridis"](0.15 + 0.75 * share)
    colours[:, :3] *= np.array(LIGHT)[across][:, None]
    # Edges in the faces' own colours: no seams between neighbours.
    axes.add_collection(
        PolyCollection(list(corners), facecolors=colours, edgecolors=colours, linewidths=0.2)
    )
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    middle, half = (low + high) / 2, max((high - low).max() / 2, 1) * 1.06
    axes.set_xlim(middle[0] - half, middle[0] + half)
    axes.set_ylim(middle[1] - half, middle[1] + half)


def picture(coords: np.ndarray, pixels: int = 120) -> bytes:
    """Voxels as a square PNG with a transparent ground."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=pixels)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_cubes(axes, coords)
    axes.patch.set_alpha(0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", transparent=True)
    return buffer.getvalue()
