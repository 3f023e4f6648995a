"""Bird's-eye maps and masks: every point in its cell, boxes by their centres, ground that hangs together."""

import math

import numpy as np
import pytest

from jaxsparse.data.birds_eye import (
    BirdsEyeGrid,
    birds_eye_map,
    box_mask,
    ground_mask,
    occupied_mask,
)

GRID = BirdsEyeGrid((0.0, 6.0), (-2.0, 2.0), (-2.0, 1.0), cell=0.25, height=0.5)


def test_the_papers_grid():
    assert BirdsEyeGrid().shape == (800, 1400, 33)
    assert GRID.shape == (16, 24, 8)


def test_every_point_is_in_its_cell_and_nowhere_else():
    rng = np.random.default_rng(0)
    points = rng.uniform((-1, -3, -3), (7, 3, 2), (500, 3))
    wanted = np.zeros(GRID.shape, np.float32)
    for x, y, z in points:
        if 0 <= x < 6 and -2 <= y < 2:
            level = 0 if z < -2 else 7 if z >= 1 else 1 + math.floor((z + 2) / 0.5)
            wanted[math.floor((y + 2) / 0.25), math.floor(x / 0.25), level] = 1
    image = birds_eye_map(points, GRID)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, wanted)
    # Further columns say nothing about the place.
    with_reflectance = np.column_stack([points, rng.random(500)]).astype(np.float64)
    np.testing.assert_array_equal(birds_eye_map(with_reflectance, GRID), wanted)


def test_no_points():
    none = np.zeros((0, 4), np.float32)
    assert not birds_eye_map(none, GRID).any()
    assert not occupied_mask(none, GRID, dilation=1.0).any()
    assert not ground_mask(none, GRID).any()
    assert not box_mask(np.zeros((0, 7)), GRID).any()


@pytest.mark.parametrize("dilation", [0.0, 0.25, 0.8])
def test_occupied_ground_grows_by_a_disc(dilation):
    points = np.array(
        [[3.0, 0.0, 0.0], [0.1, -1.9, 5.0], [-0.3, 1.0, 0.0]]
    )  # the last beside the grid
    reach = round(dilation / GRID.cell)
    mask = occupied_mask(points, GRID, dilation=dilation)
    centres = [(8, 12), (0, 0), (12, -2)]
    wanted = [
        [any((i - a) ** 2 + (j - b) ** 2 <= reach**2 for a, b in centres) for j in range(24)]
        for i in range(16)
    ]
    np.testing.assert_array_equal(mask, wanted)


@pytest.mark.parametrize("yaw", [0.0, math.pi / 2, 0.7, -2.5])
def test_boxes_cover_the_cells_whose_centre_they_hold(yaw):
    box = np.array([3.1, 0.2, -1.0, 2.4, 0.9, 1.5, yaw])
    mask = box_mask(box[None], GRID, dilation=0.1)
    wanted = np.zeros((16, 24), bool)
    for i in range(16):
        for j in range(24):
            dx, dy = (j + 0.5) * 0.25 - 3.1, -2 + (i + 0.5) * 0.25 - 0.2
            along = dx * math.cos(yaw) + dy * math.sin(yaw)
            across = dy * math.cos(yaw) - dx * math.sin(yaw)
            wanted[i, j] = abs(along) <= 1.3 and abs(across) <= 0.55
    np.testing.assert_array_equal(mask, wanted)
    assert 20 < mask.sum() < 60


def test_boxes_beside_the_grid_are_cut():
    boxes = np.array([[-0.5, 0, 0, 2, 1, 1, 0], [100.0, 0, 0, 2, 1, 1, 0]])
    mask = box_mask(boxes, GRID)
    assert mask[:, :2].any() and not mask[:, 2:].any()


def _plane(rng, low, high, height, count=4000):
    points = rng.uniform((*low, -0.02), (*high, 0.02), (count, 3))
    points[:, 2] += height
    return points


def test_open_ground_hangs_together():
    rng = np.random.default_rng(1)
    grid = BirdsEyeGrid((0.0, 12.0), (-4.0, 4.0), cell=0.1)
    road = _plane(rng, (0, -2), (12, 2), -1.73)
    wall = rng.uniform((0, 2, -1.73), (12, 2.3, 0.5), (3000, 3))
    kerb = _plane(rng, (0, 2.4), (12, 4), -1.73)  # behind the wall: flat, not joined
    step = _plane(rng, (0, -4), (12, -2), -1.3)  # 43 cm higher: flat, not joined
    mask = ground_mask(np.concatenate([road, wall, kerb, step]), grid, gap=(0.0, 0.0))
    y = grid.y_range[0] + (np.arange(80) + 0.5) * 0.1
    assert mask[(y > -1.6) & (y < 1.6)].mean() > 0.97
    assert not mask[y > 2].any()
    assert not mask[y < -2.4].any()


def test_gaps_between_rings_are_filled_up_to_a_limit():
    grid = BirdsEyeGrid((0.0, 12.0), (-4.0, 4.0), cell=0.1)
    y = np.linspace(-3.9, 3.9, 200)
    rings = [np.column_stack([np.full(200, x), y, np.full(200, -1.73)]) for x in (3.0, 4.5, 11.0)]
    mask = ground_mask(np.concatenate(rings), grid, gap=(1.0, 1.0))
    columns = mask.mean(axis=0)
    assert (columns[30:45] == 1).all()  # 1.5 m apart
    assert not mask[:, 62:90].any()  # 6.5 m apart: neither filled nor joined
    assert not mask[:, 105:].any()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: BirdsEyeGrid(cell=0.0), ValueError, "cell must be above 0"),
        (lambda: BirdsEyeGrid(height=math.nan), ValueError, "height must be finite"),
        (lambda: BirdsEyeGrid(x_range=(3.0, 3.0)), ValueError, "x_range must be"),
        (lambda: BirdsEyeGrid(z_range=(0.0, math.inf)), ValueError, "z_range must be"),
        (lambda: BirdsEyeGrid(y_range=(0.0, 0.12)), ValueError, "a whole number of cells"),
        (lambda: birds_eye_map(np.zeros((4, 2))), ValueError, r"points must be \[N, 3\]"),
        (lambda: birds_eye_map(np.zeros((4, 3), str)), TypeError, "points must be an array of"),
        (lambda: birds_eye_map(np.full((4, 3), np.nan)), ValueError, "finite"),
        (lambda: occupied_mask(np.zeros((1, 3)), dilation=-1), ValueError, "dilation must be"),
        (lambda: box_mask(np.zeros((1, 6))), ValueError, "boxes must be shape"),
        (lambda: box_mask(np.full((1, 7), np.inf)), ValueError, "boxes must be finite"),
        (lambda: box_mask(np.full((1, 7), -1.0)), ValueError, "sizes of 0 or more"),
        (lambda: ground_mask(np.zeros((1, 3)), patch=0.01), ValueError, "patch must be"),
        (lambda: ground_mask(np.zeros((1, 3)), step=math.nan), ValueError, "step must be"),
        (lambda: ground_mask(np.zeros((1, 3)), sensor_height=0), ValueError, "sensor_height must"),
    ],
)
def test_bad_arguments_are_named(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
