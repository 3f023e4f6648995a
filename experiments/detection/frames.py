"""KITTI frames as what the networks take and should give, changed at random for training."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict

import grain
import numpy as np

from experiments.data import kitti
from experiments.detection import rotated
from experiments.detection.config import DetectorConfig, FramesConfig
from experiments.detection.targets import encode
from experiments.errors import ConfigError, DataError
from jaxsparse import data


class Batch(TypedDict):
    """One step's input.

    image: uint8 ``[B, rows, columns, bins]``, 1 in cells that hold a point. mask: float32 ``[B, rows / d, columns / d]``, 1
    near boxes. found, boxes, orientations: as ``targets.Targets``.
    """

    image: np.ndarray
    mask: np.ndarray
    found: np.ndarray
    boxes: np.ndarray
    orientations: np.ndarray


@dataclasses.dataclass(frozen=True)
class Scene:
    """What the camera sees of a frame.

    Attributes:
      name: the number of its files.
      points: float32 ``[N, 4]``: x, y, z in metres, reflectance.
      boxes: float64 ``[M, 7]`` as in ``kitti.Boxes``, to be found.
      ignored: float64 ``[K, 7]``, neither to be found nor to be told from those.
    """

    name: str
    points: np.ndarray
    boxes: np.ndarray
    ignored: np.ndarray

    def flat_boxes(self) -> np.ndarray:
        """The boxes on the ground: float64 ``[M, 5]``."""
        return flat(self.boxes)


def flat(boxes: np.ndarray) -> np.ndarray:
    """x, y, length, width, yaw of boxes ``[N, 7]``."""
    return boxes[:, (0, 1, 3, 4, 6)]


def read_scene(config: FramesConfig, name: str) -> Scene:
    """Reads a labelled frame.

    Raises:
      DataError: a file is absent or damaged.
      ConfigError: there is no ``data.root``.
    """
    if config.root is None:
        raise ConfigError("data.root is missing: the folder with velodyne/, calib/ and label_2/")
    root = config.root
    sweeps = ("velodyne", "velodyne_fov")
    folder = next((f for f in sweeps if (root / f / f"{name}.bin").exists()), sweeps[0])
    frame = kitti.read_frame(root, name, sweeps=folder)
    if frame.boxes is None:
        raise DataError(f"frame {name} has no labels: {root / 'label_2' / f'{name}.txt'} is absent")
    return seen_scene(config, frame, root / "calib" / f"{name}.txt")


def seen_scene(config: FramesConfig, frame: kitti.Frame, calibration: Path) -> Scene:
    """The part of a frame that its labels are about: there are none of what the camera does not see."""
    points = frame.points
    points = points[kitti.in_image(points, kitti.read_projection(calibration))]
    found, ignored = [], []
    if frame.boxes is not None:
        (x0, x1), (y0, y1) = config.x_range, config.y_range
        for kind, box in zip(frame.boxes.kinds, frame.boxes.boxes, strict=True):
            wanted = kind in config.kinds
            if not wanted and kind not in config.ignored:
                continue
            wanted &= x0 <= box[0] < x1 and y0 <= box[1] < y1
            wanted &= int(kitti.points_in_box(points, box).sum()) >= config.least_points
            (found if wanted else ignored).append(box)
    return Scene(
        frame.name, points, np.array(found).reshape(-1, 7), np.array(ignored).reshape(-1, 7)
    )


@dataclasses.dataclass(frozen=True)
class Frames:
    """The frames of an experiment.

    Attributes:
      config: of the experiment.
      output_shape: rows and columns of the detector's maps.
    """

    config: DetectorConfig
    output_shape: tuple[int, int]

    @functools.cached_property
    def train(self) -> tuple[Scene, ...]:
        return tuple(read_scene(self.config.data, name) for name in self.config.data.train)

    @functools.cached_property
    def test(self) -> tuple[Scene, ...]:
        return tuple(read_scene(self.config.data, name) for name in self.config.data.test)

    def batches(self) -> grain.DatasetIterator[Batch]:
        """Training batches without end, every round over the frames in an order of its own.

        Its position is ``get_state()``, a small JSON-like value, and ``set_state`` goes back to it exactly: what is changed at
        random follows from the seed, the round and the frame's number.
        """
        size, seed, scenes = self.config.train.batch_size, self.config.seed, self.train
        if size > len(scenes):
            raise ConfigError(
                f"train.batch_size is {size}, but there are only {len(scenes)} frames to train on"
            )
        numbers = grain.MapDataset.range(len(scenes)).shuffle(seed=seed)
        batches = numbers.batch(size, drop_remainder=True).repeat()
        rounds = len(scenes) // size

        def batch(place: int, chosen: np.ndarray) -> Batch:
            samples = [
                self.sample(
                    changed(
                        scenes[number],
                        scenes,
                        self.config.data,
                        np.random.default_rng((seed, place // rounds, int(number))),
                    )
                )
                for number in chosen
            ]
            return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}  # pyright: ignore[reportReturnType]

        made = batches.map_with_index(batch)
        return iter(made.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))

    def sample(self, scene: Scene) -> Batch:
        """Of one scene, without a batch axis."""
        config, grid = self.config, self.config.data.grid
        targets = encode(
            scene.flat_boxes(),
            flat(scene.ignored),
            grid,
            self.output_shape,
            core=config.loss.core,
        )
        mask = data.box_mask(scene.boxes, grid, dilation=config.model.mask.dilation)
        sample: Any = {
            "image": data.birds_eye_map(scene.points, grid).astype(np.uint8),
            "mask": coarser(mask, config.model.mask.downsample).astype(np.float32),
            **targets._asdict(),
        }
        return sample

    def each(self, scenes: tuple[Scene, ...]) -> Iterator[tuple[Scene, Batch]]:
        """Every scene as it is, as a batch of its own."""
        for scene in scenes:
            yield scene, single(self.sample(scene))


def single(sample: Batch) -> Batch:
    """A batch of one."""
    arrays: Any = sample
    batch: Any = {key: value[None] for key, value in arrays.items()}
    return batch


def coarser(mask: np.ndarray, factor: int) -> np.ndarray:
    """A pixel for ``factor x factor`` of a mask, true where one of them is."""
    rows, columns = (-(-n // factor) for n in mask.shape)
    pad = [(0, factor * m - n) for n, m in zip(mask.shape, (rows, columns), strict=True)]
    padded = np.pad(mask, pad).reshape(rows, factor, columns, factor)
    return np.asarray(padded.any(axis=(1, 3)))


def changed(
    scene: Scene, others: tuple[Scene, ...], config: FramesConfig, rng: np.random.Generator
) -> Scene:
    """A scene with objects of others in it, mirrored, turned and scaled, as the configuration says."""
    how = config.augment
    points, boxes = scene.points, scene.boxes
    points, boxes = _with_copies(points, boxes, scene.ignored, others, how.copies, rng)
    both = np.concatenate([boxes, scene.ignored])
    if how.mirror and rng.random() < 0.5:
        points, both = mirrored(points, both)
    angle = math.radians(rng.uniform(-how.rotation, how.rotation))
    points, both = turned(points, both, angle)
    factor = 1 + rng.uniform(-how.scale, how.scale)
    points = points * np.array([factor] * 3 + [1], np.float32)
    both = both * np.array([factor] * 6 + [1])
    kept, ignored = both[: len(boxes)], both[len(boxes) :]
    # A box whose centre has left the map cannot be found; what is in the map of it is left open.
    (x0, x1), (y0, y1) = config.x_range, config.y_range
    here = (kept[:, 0] >= x0) & (kept[:, 0] < x1) & (kept[:, 1] >= y0) & (kept[:, 1] < y1)
    return Scene(scene.name, points, kept[here], np.concatenate([ignored, kept[~here]]))


def turned(points: np.ndarray, boxes: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and boxes, turned about the sensor's vertical axis, to the left."""
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]])
    points, boxes = points.copy(), boxes.copy()
    points[:, :2] = points[:, :2] @ turn.T.astype(points.dtype)
    boxes[:, :2] = boxes[:, :2] @ turn.T
    boxes[:, 6] += angle
    return points, boxes


def mirrored(points: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points and boxes, left and right exchanged."""
    points, boxes = points.copy(), boxes.copy()
    points[:, 1] *= -1
    boxes[:, (1, 6)] *= -1
    return points, boxes


def _with_copies(
    points: np.ndarray,
    boxes: np.ndarray,
    ignored: np.ndarray,
    others: tuple[Scene, ...],
    copies: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Up to ``copies`` objects more, each seen as it was: as far away, from the same side, where no other box stands."""
    pool = [(other, box) for other in others for box in other.boxes]
    for _ in range(copies if pool else 0):
        other, box = pool[rng.integers(len(pool))]
        own = other.points[kitti.points_in_box(other.points, box)]
        bearing = math.atan2(box[1], box[0])
        own, moved = turned(own, box[None], rng.uniform(-math.pi / 4, math.pi / 4) - bearing)
        taken = flat(np.concatenate([boxes, ignored]))
        if rotated.overlaps(flat(moved), taken).sum() > 0:
            continue
        room = moved[0] + np.array([0, 0, 0, 0, 0, 100, 0])  # what stands there goes, at any height
        points = np.concatenate([points[~kitti.points_in_box(points, room)], own])
        boxes = np.concatenate([boxes, moved])
    return points, boxes
