"""Which unit cubes triangles touch: the separating axis test, from coarse cubes to fine ones."""

import numpy as np

BATCH = 1 << 15
"""Pairs of a triangle and a cube that are tested at a time: what bounds the memory, at about 300 bytes a pair."""


def touched_voxels(
    triangles: np.ndarray, first: np.ndarray, last: np.ndarray, grid: np.ndarray
) -> None:
    """Marks the voxels that have a point in common with a triangle; faces, edges and corners belong to both.

    Args:
      triangles: float64 ``[F, 3, 3]``, in voxels: voxel i is the closed cube from i to i + 1. Any degenerate ones are
        segments and points.
      first: the lowest voxel of each dimension that is looked at.
      last: the highest.
      grid: bool, changed in place.

    Source: Akenine-Möller, "Fast 3D triangle-box overlap testing" (2001).
    """
    # A closed cube [i, i + 1] meets [low, high] if i <= high and i + 1 >= low.
    low = np.ceil(triangles.min(axis=1)) - 1
    high = np.floor(triangles.max(axis=1))
    near = ((low <= last) & (high >= first)).all(axis=1)
    triangles = triangles[near]
    low = np.maximum(low[near], first).astype(np.int64)
    high = np.minimum(high[near], last).astype(np.int64)
    # So coarse that a triangle begins with two cubes a dimension, or three voxels.
    extent = (high - low).max(axis=1, initial=0)
    levels = np.where(extent <= 2, 0, np.ceil(np.log2(np.maximum(extent, 1)))).astype(np.int64)
    for level in np.unique(levels).tolist():
        chosen = np.flatnonzero(levels == level)
        for part in np.split(chosen, range(BATCH // 27, len(chosen), BATCH // 27)):
            owner, cubes = _ranges(part, low[part] >> level, high[part] >> level)
            _descend(triangles, owner, cubes, level, first, last, grid)


def _ranges(names: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All cubes from ``low`` to ``high``, and whose they are."""
    sizes = high - low + 1
    counts = sizes.prod(axis=1)
    row = np.repeat(np.arange(len(names)), counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    z = place % sizes[row, 2]
    y = place // sizes[row, 2] % sizes[row, 1]
    x = place // (sizes[row, 2] * sizes[row, 1])
    return names[row], low[row] + np.stack([x, y, z], axis=1)


_CHILDREN = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(8, 3)


def _descend(
    triangles: np.ndarray,
    owner: np.ndarray,
    cubes: np.ndarray,
    level: int,
    first: np.ndarray,
    last: np.ndarray,
    grid: np.ndarray,
) -> None:
    """Tests pairs; those that touch are marked or divided. Depth first, so that few pairs wait."""
    if not len(owner):
        return
    touching = _touch(triangles[owner], cubes, float(1 << level))
    owner, cubes = owner[touching], cubes[touching]
    if level == 0:
        grid[tuple(cubes.T)] = True
        return
    step = BATCH // 8
    for start in range(0, len(owner), step):
        part = slice(start, start + step)
        children = (2 * cubes[part, None] + _CHILDREN).reshape(-1, 3)
        parents = np.repeat(owner[part], 8)
        inside = ((children >= first >> (level - 1)) & (children <= last >> (level - 1))).all(
            axis=1
        )
        _descend(triangles, parents[inside], children[inside], level - 1, first, last, grid)


def _touch(triangles: np.ndarray, cubes: np.ndarray, size: float) -> np.ndarray:
    """Whether each triangle and its closed cube of edge ``size`` meet: no axis separates them."""
    half = size / 2
    corners = triangles - (cubes * size + half)[:, None]  # the cube's centre is the origin
    edges = np.roll(corners, -1, axis=1) - corners
    # The cube's own axes.
    touching = (corners.min(axis=1) <= half).all(axis=1) & (corners.max(axis=1) >= -half).all(
        axis=1
    )
    # The triangle's normal.
    normal = np.cross(edges[:, 0], edges[:, 1])
    distance = np.abs(np.einsum("na,na->n", normal, corners[:, 0]))
    touching &= distance <= half * np.abs(normal).sum(axis=1)
    # The cross products of both: axis a, edge e; only the other two coordinates take part.
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        for e in range(3):
            u, v = edges[:, e, b, None], edges[:, e, c, None]
            along = u * corners[:, :, c] - v * corners[:, :, b]
            reach = half * (np.abs(u) + np.abs(v))[:, 0]
            touching &= (along.min(axis=1) <= reach) & (along.max(axis=1) >= -reach)
    return touching
