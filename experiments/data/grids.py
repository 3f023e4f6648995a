"""Objects that are voxels already: kept as lists of them, turned, mirrored and shifted as they are."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.config import ChangedGridSection


@dataclasses.dataclass(frozen=True)
class GridSplit:
    """Sets of voxels.

    Attributes:
      keys: the row-major indices of each object's voxels, integers of any kind.
      labels: int32 ``[N]``.
      resolution: voxels a dimension; the third dimension is the vertical one.
      changes: what is done to them at random; ``None``: nothing.
    """

    keys: Sequence[np.ndarray]
    labels: np.ndarray
    resolution: int
    changes: ChangedGridSection | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.resolution,) * 3 + (1,)

    @property
    def peak_density(self) -> float:
        # No change adds a voxel.
        return max(max(map(len, self.keys)), 1) / self.resolution**3

    def voxels(self, number: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """The voxels of one object, ``[M, 3]``; changed if there is a generator to draw from."""
        shape = (self.resolution,) * 3
        coords = np.stack(np.unravel_index(self.keys[number].astype(np.int64), shape), axis=1)
        return coords if rng is None else changed(coords, self.resolution, self.changes, rng)

    def gather(
        self, index: np.ndarray, draw: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        images = np.zeros((len(index), *self.image_shape), np.float32)
        for row, number in enumerate(index.tolist()):
            rng = None if draw is None else np.random.default_rng([*draw, number])
            images[row][tuple(self.voxels(number, rng).T)] = 1
        return images, self.labels[index]


def changed(
    coords: np.ndarray,
    resolution: int,
    changes: ChangedGridSection | None,
    rng: np.random.Generator,
) -> np.ndarray:
    """Voxels turned about the vertical axis, mirrored and shifted at random; what leaves the volume is lost."""
    if changes is None:
        return coords
    last = resolution - 1
    x, y, z = coords.T
    if changes.quarter_turns:
        for _ in range(rng.integers(4)):
            x, y = last - y, x
    if changes.mirror and rng.integers(2):
        x = last - x  # the other mirror image is this one turned
    moved = np.stack([x, y, z], axis=1)
    if changes.shift:
        moved = moved + rng.integers(-changes.shift, changes.shift + 1, 3)
        moved = moved[((moved >= 0) & (moved <= last)).all(axis=1)]
    return moved


def compact_keys(keys: np.ndarray, resolution: int) -> np.ndarray:
    """The same numbers in as few bytes as the volume allows."""
    return keys.astype(np.uint16 if resolution**3 <= 2**16 else np.uint32)
