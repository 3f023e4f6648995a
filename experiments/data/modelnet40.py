"""ModelNet40 as clouds of 1,024 points, in one archive for testing and four quarters for training."""

from pathlib import Path

import numpy as np

from experiments.config import ModelNet40Config
from experiments.data.clouds import CloudSplit
from experiments.data.dataset import Dataset
from experiments.data.npz import Layout, folder_of, read_npz
from experiments.errors import DataError

LAYOUT: Layout = {
    "points": ("f", (None, None, 3)),
    "labels": ("iu", (None,)),
    "classes": ("U", (None,)),
}
PARTS = (0, 1, 2, 3)
RADIUS = 1 + 1e-3


def load_modelnet40(config: ModelNet40Config) -> Dataset:
    """Reads test.npz and the parts of the training set that are asked for.

    Raises:
      DataError: ``root`` is not given or no folder; a file is absent, damaged or something else.
    """
    root = folder_of(config.root, "ModelNet40's test.npz and train_0.npz to train_3.npz")
    parts = PARTS if config.train_part == "all" else (config.train_part,)
    paths = [root / f"train_{part}.npz" for part in parts]
    test, *train = (_read(path) for path in (root / "test.npz", *paths))
    for path, part in zip(paths, train, strict=True):
        if part["classes"].tolist() != test["classes"].tolist():
            raise DataError(f"{path} has other classes than {root / 'test.npz'}")
    joined = {name: np.concatenate([part[name] for part in train]) for name in ("points", "labels")}
    part = (
        "" if config.train_part == "all" else f", quarter {config.train_part} of the training set"
    )
    rendered = "" if config.render is None else f", drawn at {config.render}"
    return Dataset(
        f"ModelNet40 in {config.resolution}^3 voxels{rendered}{part}",
        train=_split(joined, config, augmented=config.changes_anything),
        test=_split(test, config, augmented=False),
        class_names=tuple(test["classes"].tolist()),
    )


def _split(
    arrays: dict[str, np.ndarray], config: ModelNet40Config, *, augmented: bool
) -> CloudSplit:
    return CloudSplit(
        arrays["points"],
        arrays["labels"],
        config.resolution,
        config.padding,
        config.fit,
        config.render,
        config if augmented else None,
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path, LAYOUT)
    points, labels, classes = arrays["points"], arrays["labels"], arrays["classes"]
    if len(points) != len(labels) or not points.size:
        raise DataError(f"{path} is something else: {len(points)} clouds and {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"{path} is corrupt: labels {labels.min()} to {labels.max()}, but {len(classes)} classes"
        )
    # NaN is not below the radius either.
    inside = (points.astype(np.float32) ** 2).sum(axis=2).max(axis=1) <= RADIUS**2
    if not inside.all():
        number = int(np.flatnonzero(~inside)[0])
        raise DataError(
            f"{path} is corrupt: object {number} is not finite or not inside the unit ball"
        )
    return {
        "points": points.astype(np.float32),
        "labels": labels.astype(np.int32),
        "classes": classes,
    }
