"""KITTI's files: what they say in the LiDAR's frame, and what is refused."""

import numpy as np
import pytest

from experiments.data.kitti import (
    frame_names,
    points_in_box,
    read_boxes,
    read_calibration,
    read_frame,
    read_sweep,
)
from experiments.errors import DataError
from tests.shared_data import shared_data

CALIBRATION = """P0: 1 0 0 0 0 1 0 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0.5 0 0 -1 -0.25 1 0 0 -0.125
"""
LABEL = """Car 0.10 1 0 0 0 0 0 1.5 1.6 4.0 -2.5 1.48 10.0 -1.5707963267948966
DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10
Pedestrian 0.00 0 0 0 0 0 0 1.8 0.5 0.75 2.0 1.5 5.0 0.0
"""


@pytest.fixture
def root(tmp_path):
    for folder in ("velodyne", "calib", "label_2"):
        (tmp_path / folder).mkdir()
    np.arange(12, dtype="<f4").tofile(tmp_path / "velodyne" / "000007.bin")
    np.zeros(4, "<f4").tofile(tmp_path / "velodyne" / "000003.bin")
    (tmp_path / "calib" / "000007.txt").write_text(CALIBRATION)
    (tmp_path / "label_2" / "000007.txt").write_text(LABEL)
    return tmp_path


def test_a_frame(root):
    assert frame_names(root) == ["000003", "000007"]
    assert read_frame(root, "000003").boxes is None
    frame = read_frame(root, "000007")
    np.testing.assert_array_equal(frame.points, np.arange(12, dtype=np.float32).reshape(3, 4))
    boxes = frame.boxes
    assert boxes is not None and boxes.kinds == ("Car", "Pedestrian")
    # By hand: camera (x, y, z) is LiDAR (z + .125, -(x - .5), -(y + .25)); the box stands on the point.
    np.testing.assert_allclose(
        boxes.boxes,
        [
            [10.125, 3.0, -1.73 + 0.75, 4.0, 1.6, 1.5, 0.0],
            [5.125, -1.5, -1.75 + 0.9, 0.75, 0.5, 1.8, -np.pi / 2],
        ],
        atol=1e-12,
    )
    assert boxes.truncated.tolist() == [0.1, 0] and boxes.occluded.tolist() == [1, 0]
    assert len(boxes.of("Pedestrian")) == 1 and len(boxes.of("Van")) == 0


def test_points_in_a_box():
    box = np.array([1.0, 2.0, 3.0, 4.0, 2.0, 1.0, np.pi / 2])
    points = np.array([[1, 2, 3], [1, 3.9, 3], [1, 4.1, 3], [1.9, 2, 3], [2.1, 2, 3], [1, 2, 3.6]])
    assert points_in_box(points, box).tolist() == [True, True, False, True, False, False]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("velodyne/000007.bin", None, "cannot read the sweep"),
        ("velodyne/000007.bin", b"123", "is truncated: 3 bytes"),
        ("velodyne/000007.bin", np.full(4, np.nan, "<f4").tobytes(), "is corrupt"),
        ("calib/000007.txt", None, "cannot read the calibration"),
        (
            "calib/000007.txt",
            CALIBRATION.replace("R0_rect: 1 0 0 ", "R0_rect: ").encode(),
            "has no R0_rect of 9 numbers",
        ),
        ("calib/000007.txt", b"R0_rect: 1 0 x", "line 1: '1 0 x' are no numbers"),
        ("calib/000007.txt", b"\xff", "is no calibration"),
        ("calib/000007.txt", CALIBRATION.replace("1", "0").encode(), "cannot be undone"),
        ("label_2/000007.txt", b"Car 1 2", "line 1: 3 words, a label has 15"),
        (
            "label_2/000007.txt",
            LABEL.replace("1.5 1.6", "1.5 x").encode(),
            "line 1: .* is no label",
        ),
        ("label_2/000007.txt", LABEL.replace("1.5 1.6", "1.5 -1").encode(), "that no object has"),
    ],
)
def test_damaged_files_are_named(root, file, content, message):
    path = root / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_frame(root, "000007")


def test_absent_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        frame_names(tmp_path)
    (tmp_path / "velodyne").mkdir()
    with pytest.raises(DataError, match="holds no sweep"):
        frame_names(tmp_path)


def test_boxes_of_real_frames_hold_their_points():
    root = shared_data("kitti")
    found = {}
    for path in sorted((root / "label_2").glob("*.txt")):
        sweep = root / "velodyne" / f"{path.stem}.bin"
        if not sweep.exists():
            continue
        points = read_sweep(sweep)
        boxes = read_boxes(path, read_calibration(root / "calib" / path.name)).of("Car")
        for box in boxes.boxes:
            if box[0] < 40:
                found[path.stem, *np.round(box[:2], 1)] = int(points_in_box(points, box).sum())
    assert len(found) >= 10
    # A wrong frame or yaw would leave most of them empty.
    assert min(found.values()) > 20, found
