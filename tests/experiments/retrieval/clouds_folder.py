"""A small ModelNet40: clouds of points on three kinds of bodies, and the configuration of a network that tells them apart."""

import numpy as np

from experiments.config.load import validate
from jaxsparse.data import normalize_points

CLASSES = np.array(["ball", "rod", "plate"])
STRETCH = np.array([[1, 1, 1], [0.15, 0.15, 1], [1, 1, 0.1]])
COUNTS = {"test": 12, "train_0": 30, "train_1": 6, "train_2": 6, "train_3": 6}


def write_clouds(folder, points=60):
    for seed, (name, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng(seed)
        labels = (np.arange(count) % len(CLASSES)).astype(np.uint8)
        clouds = [
            normalize_points(rng.normal(size=(points, 3)) * STRETCH[label]) for label in labels
        ]
        np.savez(
            folder / f"{name}.npz",
            points=np.array(clouds, np.float32),
            labels=labels,
            names=np.array(["x"] * count),
            classes=CLASSES,
        )
    return folder


def small_shapes(root, **sections):
    """A configuration of the smallest S3DCNN that pools, with some sections' keys replaced."""
    values = {
        "name": "shapes",
        "data": {
            "kind": "modelnet40",
            "root": str(root),
            "resolution": 6,
            "render": 5,
            "train_part": 0,
        },
        "model": {"kind": "s3dcnn", "depth": 1, "width": 8},
        "optimizer": {"kind": "adagrad", "learning_rate": 0.05},
        "train": {"epochs": 2, "batch_size": 9, "test_batch_size": 9, "log_every": 1},
    }
    for name, section in sections.items():
        values[name] = {**values[name], **section} if name in values else section
    return validate(values, "test")


TRIPLET = {"kind": "triplet", "margin": 0.5, "classes": 3}
