"""Clouds to voxels, against a loop over points and voxels whose arithmetic is exact."""

import itertools
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import data, direct


def oracle(points, sizes, padding, lower, upper):
    """Half-open voxels, the last one of a dimension closed; rational arithmetic."""
    found = set()
    for point in points:
        voxel = []
        for x, size, low, high in zip(point, sizes, lower, upper, strict=True):
            x, low, high = Fraction(float(x)), Fraction(low), Fraction(high)
            inner = size - 2 * padding
            edge = (high - low) / inner
            faces = [low + i * edge for i in range(inner + 1)]
            inside = [i for i in range(inner) if faces[i] <= x < faces[i + 1]]
            if x == high:
                inside = [inner - 1]
            voxel.append(inside[0] + padding if inside else None)
        if None not in voxel:
            found.add(tuple(voxel))
    return sorted(found)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("padding", [0, 2])
def test_bounds_against_the_oracle(dims, dtype, padding, rng):
    sizes = (8 + 2 * padding, 4 + 2 * padding, 16 + 2 * padding)[:dims]
    lower, upper = (-2, -1, 0)[:dims], (2, 3, 8)[:dims]
    # Multiples of an eighth: many on faces, some outside.
    points = (rng.integers(-24, 72, (300, dims)) / 8).astype(dtype)
    found = data.voxelize_points(points, sizes, padding=padding, bounds=(lower, upper))
    assert found.dtype == np.int32 and found.shape[1] == dims
    assert list(map(tuple, found.tolist())) == oracle(points, sizes, padding, lower, upper)


def test_faces():
    """Lower faces belong to a voxel, the volume's upper face to the last; beyond is outside."""
    points = [[0.0], [0.25], [np.nextafter(0.25, 0)], [1.0], [np.nextafter(1, 2)], [-1e-300]]
    found = [data.voxelize_points([p], 4, bounds=(0, 1)).ravel().tolist() for p in points]
    assert found == [[0], [1], [0], [3], [], []]


def test_order_of_the_points_and_repetition_change_nothing(rng):
    points = rng.normal(size=(200, 3))
    once = data.voxelize_points(points, 16)
    again = data.voxelize_points(np.tile(rng.permutation(points), (2, 1)), 16)
    np.testing.assert_array_equal(once, again)
    keys = np.ravel_multi_index(tuple(once.T), (16,) * 3)
    assert (np.diff(keys) > 0).all()


@pytest.mark.parametrize(("sizes", "padding"), [((8, 8, 8), 0), ((9, 12, 30), 1), ((64,) * 3, 3)])
@pytest.mark.parametrize("fit", ["cube", "sphere"])
def test_fitted_boxes_hold_every_point(sizes, padding, fit, rng):
    """Voxels are cubes: the voxels' places are the points', scaled and moved, to within one."""
    points = rng.normal(size=(400, 3)) * rng.uniform(0.1, 5, 3) + 100
    found = data.voxelize_points(points, sizes, padding=padding, fit=fit)
    inner = np.array(sizes) - 2 * padding
    assert (found >= padding).all() and (found < np.array(sizes) - padding).all()
    if fit == "cube":
        low, high = points.min(0), points.max(0)
        centre, edge = (low + high) / 2, ((high - low) / inner).max()
        widest = ((high - low) / inner).argmax()
        assert found[:, widest].min() == padding
        assert found[:, widest].max() == sizes[widest] - padding - 1
    else:
        centre = points.mean(0)
        edge = 2 * np.linalg.norm(points - centre, axis=1).max() / inner.min()
    places = (points - centre) / edge + inner / 2 + padding
    near = np.abs(places[:, None] - (found[None] + 0.5)).max(-1) <= 0.5 + 1e-9
    assert near.any(axis=0).all() and near.any(axis=1).all()


@pytest.mark.parametrize("fit", ["cube", "sphere"])
@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1.0, 1e150])
def test_scale_does_not_matter(fit, scale, rng):
    points = rng.integers(-64, 65, (50, 3)).astype(float)
    np.testing.assert_array_equal(
        data.voxelize_points(points, 16, fit=fit),
        data.voxelize_points(points * 2.0 ** np.floor(np.log2(scale)), 16, fit=fit),
    )


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_few_points(dims):
    same = np.full((3, dims), 7.5)
    for fit in ("cube", "sphere"):
        assert data.voxelize_points(same, 5, fit=fit).tolist() == [[2] * dims]
        assert data.voxelize_points(same[:0], 5, fit=fit).shape == (0, dims)
    assert data.voxelize_points(same, 5, bounds=(0, 1)).shape == (0, dims)
    assert data.voxelize_points([[1e308] * dims, [0.0] * dims], 5, bounds=(0, 1e-300)).size == dims


def test_large_volumes(rng):
    """No volume is held: the largest that keys can count."""
    points = rng.uniform(0, 1, (20, 3))
    found = data.voxelize_points(points, 1290, bounds=(0, 1))
    np.testing.assert_array_equal(np.sort(found[:, 0]), np.sort((points[:, 0] * 1290).astype(int)))
    with pytest.raises(ValueError, match="at most 2147483647 voxels in all"):
        data.voxelize_points(points, 1291, bounds=(0, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_not_finite_are_refused(bad):
    points = np.zeros((4, 3), np.float32)
    points[2, 1] = bad
    with pytest.raises(ValueError, match=r"points must be finite, got .* in row 2"):
        data.voxelize_points(points, 8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"points": np.zeros((4, 4))}, ValueError, r"points must be \[N, d\] with d from 1 to 3"),
        ({"points": np.zeros(4)}, ValueError, r"got shape \(4,\)"),
        ({"points": [["a"]]}, TypeError, "points must be an array of real numbers"),
        ({"resolution": 0}, ValueError, "resolution must be at least 1"),
        ({"resolution": 4.0}, TypeError, "resolution must be an integer or 3 of them"),
        ({"resolution": (4, 4)}, ValueError, "resolution must be an integer or 3 of them"),
        ({"padding": -1}, ValueError, "padding must be at least 0"),
        ({"padding": 4}, ValueError, "padding must be less than half of the resolution 8"),
        ({"bounds": (1, 1)}, ValueError, r"bounds must be a pair \(lower, upper\)"),
        ({"bounds": 1}, ValueError, "bounds must be a pair"),
        ({"bounds": (0, np.nan)}, ValueError, "bounds must be a pair"),
        ({"bounds": (0, (1, 2))}, ValueError, "bounds must be a pair"),
        ({"bounds": (0, 1), "fit": "cube"}, ValueError, "fit must be left out where bounds"),
        ({"fit": "box"}, ValueError, r"fit must be one of \['cube', 'sphere'\]"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"points": np.zeros((4, 3)), "resolution": 8, **change}
    with pytest.raises(error, match=message):
        data.voxelize_points(**arguments)


def test_batches_of_objects(rng):
    clouds = [rng.normal(size=(n, 3)) for n in (30, 1, 50)]
    voxels = [data.voxelize_points(cloud, 8) for cloud in clouds]
    coords = data.batch_coords(voxels)
    assert coords.dtype == np.int32 and len(coords) == sum(map(len, voxels))
    x = direct.SparseTensor.from_coords(
        coords, jnp.ones(len(coords)), batch_size=3, spatial_shape=(8,) * 3, capacity=64
    )
    dense = np.zeros((3, 8, 8, 8, 1), np.float32)
    for number, found in enumerate(voxels):
        dense[number][tuple(found.T)] = 1
    np.testing.assert_array_equal(x.to_dense(), dense)


def test_batches_of_nothing_like_that():
    with pytest.raises(ValueError, match="at least one array"):
        data.batch_coords([])
    with pytest.raises(ValueError, match=r"coords\[1\] must be \[N, 3\], got shape \(1, 2\)"):
        data.batch_coords([np.zeros((1, 3), int), np.zeros((1, 2), int)])
    with pytest.raises(ValueError, match=r"coords\[0\] must be \[N, d\]"):
        data.batch_coords([np.zeros(3, int)])
    with pytest.raises(TypeError, match=r"coords\[0\] must be integers"):
        data.batch_coords([np.zeros((1, 3))])


@pytest.mark.parametrize("to", ["sphere", "cube"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalized_points(to, dtype, rng):
    points = (rng.normal(size=(50, 3)) * [1, 5, 0.1] + 30).astype(dtype)
    found = data.normalize_points(points, to)
    assert found.dtype == dtype
    if to == "sphere":
        np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1).max(), 1, rtol=1e-6)
    else:
        np.testing.assert_allclose(found.max(axis=0), -found.min(axis=0), atol=1e-6)
        np.testing.assert_allclose(np.abs(found).max(), 1, rtol=1e-6)
    # A similarity: distances keep their proportions.
    pairs = list(itertools.pairwise(range(10)))
    before, after = (
        np.array([np.linalg.norm(p[i] - p[j]) for i, j in pairs])
        for p in (points.astype(float), found.astype(float))
    )
    np.testing.assert_allclose(after / before, (after / before)[0], rtol=1e-4)
    assert (data.normalize_points(points[:1], to) == 0).all()
    assert data.normalize_points(points[:0], to).shape == (0, 3)
