"""A detector that trains in seconds, on two frames that the tests write themselves."""

import numpy as np

from experiments.detection.config import checked

# The camera looks along x of the LiDAR: column 621 + 200 y', row 187 + 200 z' of what is one metre away.
CALIBRATION = """P2: 600 0 621 0 0 300 187 0 0 0 1 0
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0
"""
SMALL = {
    "name": "small",
    "data": {
        "train": ["000001"],
        "test": ["000002"],
        "x_range": [0.0, 16.0],
        "y_range": [-8.0, 8.0],
        "z_range": [-2.0, 2.0],
        "cell": 0.5,
        "height": 1.0,
        "augment": {"copies": 1},
    },
    "model": {
        "mask": {
            "downsample": 4,
            "features": [4],
            "units": [1],
            "strides": [1],
            "kernel_dilations": [1],
            "bins": [1],
        },
        "stem_features": [4],
        "features": [8, 8],
        "units": [1, 1],
        "neck_features": 4,
        "upsample_features": [4],
        "block_sizes": [9, 9, 5],
        "density": 0.6,
    },
    # Optax's adam mixes dtypes, which tests forbid.
    "optimizer": {"kind": "adagrad", "learning_rate": 0.01, "initial_accumulator": 0.0},
    "train": {"steps": 4, "dense_steps": 2, "test_every": 2, "log_every": 1, "checkpoint_every": 2},
}


def small_detector(root=None, **sections):
    """``SMALL`` with some sections' keys replaced, its data in a folder."""
    values = {
        key: {**value, **sections.get(key, {})} if isinstance(value, dict) else value
        for key, value in SMALL.items()
    }
    values["data"] = {**values["data"], "root": None if root is None else str(root)}
    return checked({**sections, **values}, "test")


def write_frames(root, names=("000001", "000002")):
    """A car, a truck and some ground in each frame, and a car behind the sensor that no camera sees."""
    for folder in ("velodyne", "calib", "label_2"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        x, y, turn = 9.0 + number, 1.0, 0.3
        car = rng.uniform(-0.49, 0.49, (200, 3)) * (4.0, 1.6, 1.5)
        cos, sin = np.cos(turn), np.sin(turn)
        car = car @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]]) + (x, y, -0.95)
        ground = np.column_stack(
            [rng.uniform(0, 16, 500), rng.uniform(-8, 8, 500), np.full(500, -1.8)]
        )
        behind = car * (-1, 1, 1)
        points = np.concatenate([car, ground, behind])
        points = np.pad(points, ((0, 0), (0, 1))).astype("<f4")
        points.tofile(root / "velodyne" / f"{name}.bin")
        (root / "calib" / f"{name}.txt").write_text(CALIBRATION)
        # Camera (x, y, z) is LiDAR (-y, -z, x); the yaw in the file is -(yaw + 90 degrees).
        lines = [
            f"Car 0 0 0 0 0 0 0 1.5 1.6 4.0 {-y} 1.7 {x} {-turn - np.pi / 2}",
            "Truck 0 0 0 0 0 0 0 3 2 6 4 1.7 12 0",
            "Pedestrian 0 0 0 0 0 0 0 1.8 0.6 0.6 1 1.7 5 0",
        ]
        (root / "label_2" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root
