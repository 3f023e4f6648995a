"""Meshes to voxels, against clipping in rational arithmetic; insides against formulas."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from jaxsparse import data
from jaxsparse.data import _triangles


def clipped(triangle, low, high):
    """What is left of a closed triangle in a closed box: the corners of a polygon, none if they do not meet."""
    polygon = [tuple(map(Fraction, corner)) for corner in triangle]
    for axis, (limit, sign) in itertools.product(range(3), ((low, 1), (high, -1))):
        kept = []
        for start, end in zip(polygon, polygon[1:] + polygon[:1], strict=True):
            a, b = (sign * (p[axis] - limit[axis]) for p in (start, end))
            if a >= 0:
                kept.append(start)
            if (a > 0 > b) or (a < 0 < b):
                share = a / (a - b)
                kept.append(tuple(s + share * (e - s) for s, e in zip(start, end, strict=True)))
        polygon = kept
    return polygon


def oracle(triangles, size):
    """The voxels of a grid that a triangle touches; coordinates in voxels, exact in binary."""
    found = set()
    for triangle in triangles.tolist():
        columns = list(zip(*triangle, strict=True))
        ranges = [
            [i for i in range(size) if i <= max(column) and i + 1 >= min(column)]
            for column in columns
        ]
        for voxel in itertools.product(*ranges):
            if clipped(triangle, voxel, [i + 1 for i in voxel]):
                found.add(voxel)
    return sorted(found)


def soup(triangles):
    """A mesh of triangles that share no vertex."""
    return data.Mesh(triangles.reshape(-1, 3), np.arange(len(triangles) * 3).reshape(-1, 3))


def voxels(triangles, size):
    found = data.voxelize_mesh(soup(triangles), size, bounds=(0, size))
    assert found.dtype == np.int32
    return [tuple(voxel) for voxel in found.tolist()]


@pytest.mark.parametrize(
    ("grain", "reach"), [(8, 2), (2, 3), (1, 4), (8, 12)], ids=["small", "halves", "whole", "large"]
)
def test_surface_is_exact(grain, reach, rng):
    """On a raster many triangles touch faces, edges and corners; small ones are tested at once, large ones by halves."""
    size = 6
    for _ in range(12):
        start = rng.integers(-1, size + 1, (1, 1, 3))
        triangles = start + rng.integers(-reach * grain, reach * grain + 1, (1, 3, 3)) / grain
        assert voxels(triangles, size) == oracle(triangles, size)


DEGENERATE = {
    "point": [[2, 2, 2], [2, 2, 2], [2, 2, 2]],
    "point inside": [[2.5, 3.25, 4.5]] * 3,
    "segment": [[0.5, 0.5, 0.5], [5.5, 3.25, 2.5], [3, 1.875, 1.5]],
    "edge": [[1, 2, 3], [4, 2, 3], [1, 2, 3]],
    "in a face": [[1.25, 2, 1.25], [4.5, 2, 1.75], [2.25, 2, 4.5]],
    "needle": [[0, 0, 0], [6, 6, 6], [6, 6, 5.96875]],
    "outside": [[7, 7, 7], [8, 7, 7], [7, 9, 7]],
    "at the boundary": [[6, 1, 1], [6, 3, 1], [6, 1, 3]],
    "around": [[-20, -20, 3.5], [40, -20, 3.5], [3, 40, 3.5]],
}


@pytest.mark.parametrize("triangle", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_triangles(triangle):
    triangles = np.array([triangle], float)
    assert voxels(triangles, 6) == oracle(triangles, 6)


def test_batches_change_nothing(rng, monkeypatch):
    triangles = rng.uniform(-2, 34, (20, 3, 3))
    whole = voxels(triangles, 32)
    monkeypatch.setattr(_triangles, "BATCH", 64)
    assert voxels(triangles, 32) == whole
    assert set(whole) == set().union(*(voxels(triangle[None], 32) for triangle in triangles))


def octahedron(radius=1.0, centre=(0, 0, 0)):
    """|x| + |y| + |z| = radius."""
    vertices = np.concatenate([np.eye(3), -np.eye(3)]) * radius + centre
    faces = [
        (0 if x > 0 else 3, 1 if y > 0 else 4, 2 if z > 0 else 5)
        for x, y, z in itertools.product((1, -1), repeat=3)
    ]
    return data.Mesh(vertices, faces)


def joined(*meshes):
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [np.asarray(mesh.faces) + start for mesh, start in zip(meshes, starts, strict=False)]
    return data.Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def nearest(size):
    """The least |x| + |y| + |z| of each closed voxel of [-1, 1]^3."""
    low = np.arange(size) * 2 / size - 1
    least = np.where(low >= 0, low, np.maximum(-(low + 2 / size), 0))
    return least[:, None, None] + least[:, None] + least


@pytest.mark.parametrize("size", [8, 16, 64])
def test_solid_is_what_the_surface_encloses(size):
    mesh = octahedron()
    assert mesh.watertight
    solid = data.voxelize_mesh(mesh, size, fill="solid")
    np.testing.assert_array_equal(solid, np.argwhere(nearest(size) <= 1))
    # Orientation, order and intersections do not matter; cavities are filled.
    turned = data.Mesh(mesh.vertices, np.asarray(mesh.faces)[::-1, [1, 0, 2]])
    nested = joined(mesh, octahedron(0.5), octahedron(0.25, (0.5, 0, 0)))
    for other in (turned, nested):
        np.testing.assert_array_equal(data.voxelize_mesh(other, size, fill="solid"), solid)
    assert len(data.voxelize_mesh(nested, size)) > len(data.voxelize_mesh(mesh, size))


def test_solids_that_are_open():
    """A gap wider than a voxel lets the outside in; a smaller one does not."""
    mesh = octahedron()
    opened = data.Mesh(mesh.vertices, mesh.faces[1:])
    assert not opened.watertight
    for size in (16, 17):
        shell = data.voxelize_mesh(opened, size)
        np.testing.assert_array_equal(data.voxelize_mesh(opened, size, fill="solid"), shell)
    # The gap is the part of a face near its corner (0, 0, 1) alone: less than a voxel.
    a, b, c = (np.asarray(mesh.vertices)[i] for i in mesh.faces[0])
    near_a, near_b = c + (a - c) / 64, c + (b - c) / 64
    patch = soup(np.array([[a, b, near_a], [near_a, b, near_b]]))
    slit = joined(opened, patch)
    assert not slit.watertight
    np.testing.assert_array_equal(
        data.voxelize_mesh(slit, 16, fill="solid"), np.argwhere(nearest(16) <= 1)
    )


def test_fit_and_padding(rng):
    mesh = octahedron(3.0, (10, -20, 5))
    found = data.voxelize_mesh(mesh, 20, padding=2)
    assert found.min(axis=0).tolist() == [2] * 3 and found.max(axis=0).tolist() == [17] * 3
    np.testing.assert_array_equal(found, data.voxelize_mesh(octahedron(), 16) + 2)
    # Vertices that no triangle uses do not count.
    spare = data.Mesh(np.concatenate([mesh.vertices, [[1e6, 0, 0]]]), mesh.faces)
    np.testing.assert_array_equal(data.voxelize_mesh(spare, 20, padding=2), found)
    ball = data.voxelize_mesh((mesh.vertices, mesh.faces), 20, padding=2, fit="sphere")
    np.testing.assert_array_equal(ball, found)  # its corners lie on the ball
    flat = data.voxelize_mesh(mesh, (20, 9, 20))
    assert flat.max(axis=0)[1] == 8 and flat.max() < 15


def test_every_sampled_point_lies_in_the_surface(rng):
    triangles = rng.normal(size=(30, 3, 3))
    found = {tuple(v) for v in data.voxelize_mesh(soup(triangles), 40, bounds=(-4, 4)).tolist()}
    weights = rng.dirichlet(np.ones(3), (30, 500))
    points = np.einsum("fns,fsa->fna", weights, triangles).reshape(-1, 3)
    sampled = {tuple(v) for v in data.voxelize_points(points, 40, bounds=(-4, 4)).tolist()}
    assert sampled <= found and len(sampled) > 0.5 * len(found)


@pytest.mark.parametrize(
    ("mesh", "keys", "error", "message"),
    [
        (octahedron(), {"fill": "full"}, ValueError, "fill must be one of"),
        (octahedron(), {"resolution": 513}, ValueError, "resolution must be at most 512, got 513"),
        (octahedron(), {"padding": 4}, ValueError, "padding must be less than half"),
        (octahedron(), {"bounds": (0, 1), "fit": "cube"}, ValueError, "fit must be left out"),
        (octahedron(), {"bounds": (1, 0)}, ValueError, "bounds must be a pair"),
        (data.Mesh([[0, 0, np.nan]], [[0, 0, 0]]), {}, ValueError, "vertices must be finite"),
        (data.Mesh([[0, 0]], [[0, 0, 0]]), {}, ValueError, "vertices must be .* with d = 3"),
        (
            data.Mesh([[0, 0, 0]], [[0, 0, 1]]),
            {},
            ValueError,
            "numbers of the 1 vertices, got 0 to 1",
        ),
        (data.Mesh([[0, 0, 0]], [[0, 0, -1]]), {}, ValueError, "faces must be numbers of"),
        (data.Mesh([[0, 0, 0]], [[0.0, 0, 0]]), {}, TypeError, "faces must be integers"),
        (data.Mesh([[0, 0, 0]], [[0, 0]]), {}, ValueError, r"faces must be \[F, 3\]"),
        (3, {}, TypeError, r"mesh must be a Mesh, a pair \(vertices, faces\) or a path, got int"),
    ],
)
def test_errors_name_the_argument(mesh, keys, error, message):
    with pytest.raises(error, match=message):
        data.voxelize_mesh(mesh, **{"resolution": 8, **keys})


def test_no_triangles():
    empty = data.Mesh(np.zeros((0, 3)), np.zeros((0, 3), int))
    assert data.voxelize_mesh(empty, 8).shape == (0, 3) and not empty.watertight
