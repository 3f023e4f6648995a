"""ModelNet10's grids: padded, without the empty ones; changes of grids are permutations of their voxels."""

import numpy as np
import pytest

from experiments.config import ChangedGridSection, ModelNet10Config
from experiments.data import load_dataset
from experiments.data.grids import GridSplit, changed
from experiments.errors import DataError
from tests.shared_data import shared_data


def grids(count, seed, empty=()):
    found = np.random.default_rng(seed).random((count, 30, 30, 30)) < 0.01
    found[list(empty)] = False
    return found.astype(np.int32)


def write(root, **changes):
    arrays = {
        "X_train": grids(7, 0, empty=(2, 5)),
        "y_train": np.arange(7) % 10,
        "X_test": grids(4, 1, empty=(0,)),
        "y_test": np.arange(4),
    }
    arrays = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
    np.savez_compressed(root / "voxel30.npz", **arrays)
    return arrays


@pytest.mark.parametrize("resolution", [30, 32])
def test_grids_are_padded_and_empty_ones_left_out(tmp_path, resolution):
    arrays = write(tmp_path)
    config = ModelNet10Config(kind="modelnet10", root=tmp_path, resolution=resolution)
    data = load_dataset(config)
    assert data.notes == (
        "2 empty grids of voxel30.npz left out of the train split: 2 5",
        "1 empty grids of voxel30.npz left out of the test split: 0",
    )
    assert data.classes == 10 and data.image_shape == (resolution,) * 3 + (1,)
    images, labels = data.train.gather(np.arange(5))
    kept = [0, 1, 3, 4, 6]
    margin = (resolution - 30) // 2
    expected = np.pad(arrays["X_train"][kept], ((0, 0), *(((margin, margin),) * 3)))
    np.testing.assert_array_equal(images[..., 0], expected)
    np.testing.assert_array_equal(labels, arrays["y_train"][kept])
    assert images.dtype == np.float32 and labels.dtype == np.int32
    filled = max(arrays["X_train"].sum((1, 2, 3)).max(), arrays["X_test"].sum((1, 2, 3)).max())
    assert data.peak_density == filled / resolution**3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X_test": None}, "has no X_test"),
        ({"X_train": np.zeros((7, 30, 30), int)}, r"X_train is int64 \[7, 30, 30\], expected"),
        ({"y_test": np.arange(3)}, "4 grids, 3 labels"),
        ({"y_train": np.arange(7) + 5}, "labels 5 to 11 of 10"),
        ({"X_train": np.zeros((7, 30, 30, 30), int)}, "all 7 grids of X_train are empty"),
    ],
)
def test_other_files_are_refused(tmp_path, changes, message):
    write(tmp_path, **changes)
    with pytest.raises(DataError, match=message):
        load_dataset(ModelNet10Config(kind="modelnet10", root=tmp_path))
    with pytest.raises(DataError, match=r"data\.root is not given"):
        load_dataset(ModelNet10Config(kind="modelnet10"))


def test_turns_and_mirror_images(rng):
    """Four turns, mirrored or not: the eight symmetries of a square in the plane, the same in all heights."""
    size = 5
    grid = rng.random((size,) * 3) < 0.3
    coords = np.argwhere(grid)
    changes = ChangedGridSection(quarter_turns=True, mirror=True)
    symmetries = {np.rot90(g, k).tobytes() for g in (grid, grid[::-1]) for k in range(4)}
    assert len(symmetries) == 8
    found = set()
    for _ in range(100):
        other = np.zeros_like(grid)
        other[tuple(changed(coords, size, changes, rng).T)] = True
        found.add(other.tobytes())
    assert found == symmetries


def test_shifts(rng):
    grid = np.zeros((7, 7, 7), bool)
    grid[2:6, 3, 3] = True
    shifts = set()
    for _ in range(300):
        moved = changed(np.argwhere(grid), 7, ChangedGridSection(shift=2), rng)
        other = np.zeros_like(grid)
        other[tuple(moved.T)] = True
        shift = moved[0, 1] - 3, moved[0, 2] - 3
        shifts.add(tuple(shift))
        line = other[:, moved[0, 1], moved[0, 2]]
        # What went over the edge is gone: 3 or 4 voxels are left.
        assert other.sum() == line.sum() in (3, 4)
    assert len(shifts) == 25


def test_draws_follow_from_seed_epoch_and_object(rng):
    keys = [np.sort(rng.choice(512, 60, replace=False)).astype(np.uint16) for _ in range(9)]
    changes = ChangedGridSection(quarter_turns=True, mirror=True, shift=1)
    split = GridSplit(keys, np.zeros(9, np.int32), 8, changes)
    index = np.arange(9)
    first = split.gather(index, (1, 2))[0]
    np.testing.assert_array_equal(split.gather(index[[6, 2]], (1, 2))[0], first[[6, 2]])
    for other in (None, (1, 3), (2, 2)):
        assert (split.gather(index, other)[0] != first).any()
    plain = GridSplit(keys, np.zeros(9, np.int32), 8)
    np.testing.assert_array_equal(plain.gather(index, (1, 2))[0], split.gather(index)[0])


@pytest.mark.slow
def test_real_grids():
    """What the README of the data counts."""
    root = shared_data("modelnet10")
    data = load_dataset(ModelNet10Config(kind="modelnet10", root=root))
    assert len(data.train) == 3991 - 7 and len(data.test) == 908 - 1
    assert [note.split(": ")[1] for note in data.notes] == ["6 15 21 24 60 3392 3857", "304"]
