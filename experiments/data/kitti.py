"""KITTI's object files: sweeps, calibrations and labelled boxes, all in the LiDAR's own frame."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from experiments.errors import DataError


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Labelled objects of one frame.

    Attributes:
      kinds: ``"Car"``, ``"Pedestrian"``, ...
      boxes: float64 ``[N, 7]``: x, y, z of the centre, length, width, height in metres; yaw in radians about z, 0 = the length
        lies along x. LiDAR frame: x forward, y to the left, z up.
      truncated: float64 ``[N]``, the share of the object that is outside the camera's image.
      occluded: int ``[N]``: 0 wholly visible, 1 partly hidden, 2 mostly, 3 unknown.
    """

    kinds: tuple[str, ...]
    boxes: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray

    def __len__(self) -> int:
        return len(self.kinds)

    def of(self, *kinds: str) -> "Boxes":
        """Those of some kinds."""
        which = [index for index, kind in enumerate(self.kinds) if kind in kinds]
        return Boxes(
            tuple(self.kinds[index] for index in which),
            self.boxes[which],
            self.truncated[which],
            self.occluded[which],
        )


@dataclasses.dataclass(frozen=True)
class Frame:
    """One moment: its sweep, and its boxes if they are labelled.

    Attributes:
      name: the number of its files, six digits.
      points: float32 ``[N, 4]``: x, y, z in metres, reflectance in [0, 1].
      boxes: ``None`` where there is no label file.
    """

    name: str
    points: np.ndarray
    boxes: Boxes | None


def frame_names(root: Path, sweeps: str = "velodyne") -> list[str]:
    """The frames that have a sweep in a folder of ``root``, in order.

    Raises:
      DataError: there is no such folder, or no sweep in it.
    """
    folder = root / sweeps
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder: KITTI's object data are {sweeps}/, calib/, label_2/"
        )
    names = sorted(path.stem for path in folder.glob("*.bin"))
    if not names:
        raise DataError(f"{folder} holds no sweep (NNNNNN.bin)")
    return names


def read_frame(
    root: Path, name: str, *, sweeps: str = "velodyne", labels: str = "label_2"
) -> Frame:
    """Reads a frame.

    Raises:
      DataError: its sweep is absent or damaged; its labels are damaged, or there is no calibration for them.
    """
    points = read_sweep(root / sweeps / f"{name}.bin")
    label = root / labels / f"{name}.txt"
    boxes = None
    if label.exists():
        boxes = read_boxes(label, read_calibration(root / "calib" / f"{name}.txt"))
    return Frame(name, points, boxes)


def read_sweep(path: Path) -> np.ndarray:
    """Reads a sweep: float32 ``[N, 4]``, x, y, z in metres and reflectance.

    Raises:
      DataError: the file is absent, holds no whole number of points, or a number that is not finite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the sweep {path}: {error.strerror}") from error
    if len(content) % 16:
        raise DataError(
            f"{path} is truncated: {len(content)} bytes are no whole number of points of 16"
        )
    points = np.frombuffer(content, "<f4").reshape(-1, 4).astype(np.float32)
    if not np.isfinite(points).all():
        raise DataError(f"{path} is corrupt: a coordinate is not finite")
    return points


def read_calibration(path: Path) -> np.ndarray:
    """Reads a calibration: float64 ``[4, 4]``, from the rectified camera's frame to the LiDAR's.

    Raises:
      DataError: the file is absent, or R0_rect or Tr_velo_to_cam is missing or damaged.
    """
    to_camera, rectify = _matrices(path, ("Tr_velo_to_cam", (3, 4)), ("R0_rect", (3, 3)))
    try:
        return np.linalg.inv(rectify @ to_camera)
    except np.linalg.LinAlgError:
        raise DataError(f"{path} is corrupt: its transformation cannot be undone") from None


def read_projection(path: Path) -> np.ndarray:
    """Reads a calibration: float64 ``[4, 4]``, from the LiDAR's frame to the left colour camera's pixels.

    The first two rows are column and row of a pixel times its depth, the third is its depth in metres.

    Raises:
      DataError: the file is absent, or P2, R0_rect or Tr_velo_to_cam is missing or damaged.
    """
    to_camera, rectify, project = _matrices(
        path, ("Tr_velo_to_cam", (3, 4)), ("R0_rect", (3, 3)), ("P2", (3, 4))
    )
    return project @ rectify @ to_camera


IMAGE_SIZE = (1242, 375)
"""Columns and rows of the camera's images, as most frames have them; some have a few less."""


def in_image(points: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """Which points the camera sees, whose images the labels were made in: bool ``[N]``."""
    homogeneous = np.pad(points[:, :3].astype(np.float64), ((0, 0), (0, 1)), constant_values=1)
    column, row, depth, _ = projection @ homogeneous.T
    width, height = IMAGE_SIZE
    inside = (column >= 0) & (column < width * depth) & (row >= 0) & (row < height * depth)
    return inside & (depth > 0)


def _matrices(path: Path, *wanted: tuple[str, tuple[int, int]]) -> list[np.ndarray]:
    """Matrices of a calibration, made up to float64 ``[4, 4]``."""
    values: dict[str, np.ndarray] = {}
    for number, line in enumerate(_lines(path, "calibration"), start=1):
        name, colon, text = line.partition(":")
        if not colon:
            continue
        try:
            values[name.strip()] = np.array([float(word) for word in text.split()])
        except ValueError:
            raise DataError(f"{path}, line {number}: {text.strip()!r} are no numbers") from None
    matrices = []
    for name, shape in wanted:
        found = values.get(name)
        if found is None or found.size != math.prod(shape) or not np.isfinite(found).all():
            raise DataError(f"{path} has no {name} of {math.prod(shape)} numbers")
        matrix = np.eye(4)
        matrix[: shape[0], : shape[1]] = found.reshape(shape)
        matrices.append(matrix)
    return matrices


def read_boxes(path: Path, to_lidar: np.ndarray) -> Boxes:
    """Reads the labelled objects of a frame; regions without labels (``DontCare``) are left out.

    Args:
      path: a file of ``label_2``.
      to_lidar: of :func:`read_calibration`.

    Raises:
      DataError: the file is absent or damaged.

    Source: the format is described in KITTI's object development kit (Geiger et al. 2012): sizes are height, width, length;
    the location is the middle of the bottom face, in the camera's frame (x right, y down, z forward).
    """
    kinds, boxes, truncated, occluded = [], [], [], []
    for number, line in enumerate(_lines(path, "label file"), start=1):
        words = line.split()
        if not words or words[0] == "DontCare":
            continue
        if len(words) not in (15, 16):  # detections have a score behind
            raise DataError(f"{path}, line {number}: {len(words)} words, a label has 15")
        try:
            numbers = [float(word) for word in words[1:15]]
        except ValueError:
            raise DataError(f"{path}, line {number}: {line.strip()!r} is no label") from None
        height, width, length = numbers[7:10]
        if not np.isfinite(numbers).all() or min(height, width, length) <= 0:
            raise DataError(f"{path}, line {number}: a size or a place that no object has")
        bottom = to_lidar @ np.array([*numbers[10:13], 1.0])
        # About the camera's y, which points down, from its x, which points right.
        yaw = -numbers[13] - math.pi / 2
        yaw = (yaw + math.pi) % (2 * math.pi) - math.pi
        x, y, z = bottom[:3]
        kinds.append(words[0])
        boxes.append([x, y, z + height / 2, length, width, height, yaw])
        truncated.append(numbers[0])
        occluded.append(int(numbers[1]))
    return Boxes(
        tuple(kinds),
        np.array(boxes, np.float64).reshape(-1, 7),
        np.array(truncated, np.float64),
        np.array(occluded, np.int64),
    )


def points_in_box(points: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Which points lie in a box: bool ``[N]``."""
    x, y, z, length, width, height, yaw = box
    dx, dy, dz = (points[:, :3].astype(np.float64) - (x, y, z)).T
    along = math.cos(yaw) * dx + math.sin(yaw) * dy
    across = math.cos(yaw) * dy - math.sin(yaw) * dx
    return (
        (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2) & (np.abs(dz) <= height / 2)
    )


def _lines(path: Path, what: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no {what}: {error}") from error
