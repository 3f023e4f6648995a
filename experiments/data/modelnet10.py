"""ModelNet10 as solid voxels, 30 a dimension, in one archive."""

import numpy as np

from experiments.config import ModelNet10Config
from experiments.data.dataset import Dataset
from experiments.data.grids import GridSplit, compact_keys
from experiments.data.npz import Layout, folder_of, read_npz
from experiments.errors import DataError

SIZE = 30
FILE = "voxel30.npz"
CLASSES = (
    "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet",
)  # fmt: skip


def load_modelnet10(config: ModelNet10Config) -> Dataset:
    """Reads voxel30.npz, pads its grids and leaves out the empty ones.

    Raises:
      DataError: ``root`` is not given or no folder; the file is absent, damaged or something else.
    """
    path = folder_of(config.root, f"ModelNet10's {FILE}") / FILE
    splits, notes = {}, []
    for part in ("train", "test"):
        layout: Layout = {
            f"X_{part}": ("iub", (None, SIZE, SIZE, SIZE)),
            f"y_{part}": ("iu", (None,)),
        }
        grids, labels = read_npz(path, layout).values()
        if len(grids) != len(labels) or not len(grids):
            raise DataError(f"{path} is something else: {len(grids)} grids, {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= len(CLASSES):
            raise DataError(
                f"{path} is corrupt: labels {labels.min()} to {labels.max()} of {len(CLASSES)}"
            )
        keys = [_keys(grid, config.resolution) for grid in grids]
        empty = [number for number, found in enumerate(keys) if not len(found)]
        if empty:
            numbers = " ".join(map(str, empty))
            notes.append(
                f"{len(empty)} empty grids of {FILE} left out of the {part} split: {numbers}"
            )
        full = [number for number, found in enumerate(keys) if len(found)]
        if not full:
            raise DataError(
                f"{path} is something else: all {len(grids)} grids of X_{part} are empty"
            )
        splits[part] = GridSplit(
            [keys[number] for number in full],
            labels[full].astype(np.int32),
            config.resolution,
            config if part == "train" and config.changes_anything else None,
        )
    return Dataset(
        f"ModelNet10 in {config.resolution}^3 voxels",
        train=splits["train"],
        test=splits["test"],
        class_names=CLASSES,
        notes=tuple(notes),
    )


def _keys(grid: np.ndarray, resolution: int) -> np.ndarray:
    coords = np.argwhere(grid) + (resolution - SIZE) // 2
    return compact_keys(np.ravel_multi_index(tuple(coords.T), (resolution,) * 3), resolution)
