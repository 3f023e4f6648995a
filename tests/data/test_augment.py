"""Random changes to clouds: what their names say, the same from the same generator."""

import numpy as np
import pytest

from jaxsparse import data

CHANGES = {
    "rotate": lambda p, rng: data.rotate_points(p, rng),
    "rotate about an axis": lambda p, rng: data.rotate_points(p, rng, 1),
    "jitter": lambda p, rng: data.jitter_points(p, rng),
    "translate": lambda p, rng: data.translate_points(p, rng, 0.2),
    "scale": lambda p, rng: data.scale_points(p, rng, 0.5, 2, per_axis=True),
    "affine": lambda p, rng: data.affine_points(p, rng, 0.1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_follow_from_the_generator_alone(change, dtype, rng):
    points = rng.normal(size=(20, 3)).astype(dtype)
    before = points.copy()
    first, again, other = (change(points, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert first.dtype == dtype and first.shape == points.shape
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    np.testing.assert_array_equal(points, before)
    assert change(points[:0], np.random.default_rng(3)).shape == (0, 3)


@pytest.mark.parametrize("axis", [None, 0, 2, (1.0, -2.0, 0.5)])
def test_proper_rotations(axis, rng):
    turns = np.stack([data.random_rotation(rng, axis) for _ in range(500)])
    identity = np.tile(np.eye(3), (500, 1, 1))
    np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-12)
    if axis is None:
        # Uniform: every entry has mean 0 and variance 1/3 (five standard errors).
        assert np.abs(turns.mean(axis=0)).max() < 5 * np.sqrt(1 / 3 / 500)
        assert np.abs((turns**2).mean(axis=0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / 500)
        return
    vector = np.eye(3)[axis] if isinstance(axis, int) else np.array(axis)
    np.testing.assert_allclose(turns @ vector, np.tile(vector, (500, 1)), atol=1e-12)
    # The trace is 1 + 2 cos(angle): mean 1, variance 2 for angles all round.
    traces = np.trace(turns, axis1=1, axis2=2)
    assert abs(traces.mean() - 1) < 5 * np.sqrt(2 / 500)
    assert abs(((traces - 1) ** 2).mean() - 2) < 5 * np.sqrt(2 / 500)


def test_turning_right_about_an_axis(rng):
    """Counter-clockwise seen from its tip: x to y, y to z, z to x; points are multiplied by the rotation."""
    for axis in range(3):
        turn = data.random_rotation(np.random.default_rng(5), axis)
        angle = np.random.default_rng(5).uniform(0, 2 * np.pi)
        a, b = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
        np.testing.assert_allclose(turn @ a, np.cos(angle) * a + np.sin(angle) * b, atol=1e-12)
        points = rng.normal(size=(5, 3))
        moved = data.rotate_points(points, np.random.default_rng(5), axis)
        np.testing.assert_allclose(moved, np.stack([turn @ p for p in points]), atol=1e-12)


def test_jitter_is_normal_and_clipped(rng):
    moves = data.jitter_points(np.ones((4000, 3)), rng, sigma=0.5, clip=None) - 1
    assert abs(moves.std() / 0.5 - 1) < 5 / np.sqrt(2 * moves.size)
    assert abs(moves.mean()) < 5 * 0.5 / np.sqrt(moves.size)
    clipped = data.jitter_points(np.zeros((4000, 3)), rng, sigma=0.5, clip=0.5)
    assert np.abs(clipped).max() == 0.5
    assert abs((np.abs(clipped) == 0.5).mean() - 0.3173) < 0.03
    assert (data.jitter_points(np.ones((4, 2)), rng, sigma=0) == 1).all()


def test_shifts_scales_and_affine_maps(rng):
    points = rng.normal(size=(30, 3))
    shifts = [data.translate_points(points, rng, 0.25) - points for _ in range(200)]
    for shift in shifts:
        np.testing.assert_allclose(shift, shift[:1].repeat(30, 0), atol=1e-12)
    firsts = np.stack([shift[0] for shift in shifts])
    assert np.abs(firsts).max() <= 0.25 and (np.abs(firsts).max(axis=0) > 0.2).all()

    for per_axis in (False, True):
        factors = np.stack(
            [
                data.scale_points(points, rng, 0.8, 1.25, per_axis=per_axis) / points
                for _ in range(100)
            ]
        )
        np.testing.assert_allclose(factors, factors[:, :1].repeat(30, 1), rtol=1e-9)
        assert 0.8 <= factors.min() < 0.83 and 1.2 < factors.max() <= 1.25
        assert np.allclose(factors[..., 0], factors[..., 1]) != per_axis

    matrices = np.stack([data.affine_points(np.eye(3), rng, 0.1).T for _ in range(400)])
    spread = matrices - np.eye(3)
    assert abs(spread.std() / 0.1 - 1) < 5 / np.sqrt(2 * spread.size)
    generator = np.random.default_rng(1)
    matrix = data.affine_points(np.eye(3), generator, 0.3).T
    np.testing.assert_allclose(
        data.affine_points(points, np.random.default_rng(1), 0.3), points @ matrix.T, atol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p, r: data.rotate_points(p[:, :2], r), ValueError, "points must be .* with d = 3"),
        (lambda p, r: data.rotate_points(p, r, 3), ValueError, "axis must be 0, 1, 2 or a finite"),
        (lambda p, r: data.rotate_points(p, r, (0, 0, 0)), ValueError, "axis must be 0, 1, 2"),
        (lambda p, r: data.rotate_points(p, r, "up"), TypeError, "axis must be 0, 1, 2"),
        (lambda p, r: data.random_rotation(r, (1, np.nan, 0)), ValueError, "axis must be"),
        (lambda p, r: data.random_rotation(0), TypeError, "rng must be a numpy.random.Generator"),
        (lambda p, r: data.jitter_points(p, 0), TypeError, "rng must be a numpy.random.Generator"),
        (lambda p, r: data.jitter_points(p, r, -1), ValueError, "sigma must be .* at least 0"),
        (lambda p, r: data.jitter_points(p, r, clip=-1), ValueError, "clip must be"),
        (lambda p, r: data.jitter_points(p + np.nan, r), ValueError, "points must be finite"),
        (lambda p, r: data.translate_points(p, r, np.inf), ValueError, "distance must be finite"),
        (lambda p, r: data.translate_points(p, r, "1"), TypeError, "distance must be a number"),
        (lambda p, r: data.scale_points(p, r, 0, 1), ValueError, "low must be above 0"),
        (lambda p, r: data.scale_points(p, r, 2, 1), ValueError, "at most high = 1, got 2"),
        (lambda p, r: data.affine_points(p, r, np.nan), ValueError, "sigma must be finite"),
        (lambda p, r: data.normalize_points(p, "box"), ValueError, "to must be one of"),
    ],
)
def test_errors_name_the_argument(call, error, message, rng):
    with pytest.raises(error, match=message):
        call(np.zeros((4, 3)), rng)
