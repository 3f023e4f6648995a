"""Clouds of points that become voxels when they are asked for, changed at random before."""

import dataclasses
import functools
from typing import Literal

import numpy as np

from experiments.config import AugmentedSection
from jaxsparse.data import (
    affine_points,
    jitter_points,
    normalize_points,
    rotate_points,
    translate_points,
    voxelize_points,
)

UP = 2
"""The vertical axis of ModelNet's objects."""

HEADROOM = 1.25
"""How much fuller than the fullest object as it is a changed one may be before entries are cut (and counted)."""


@dataclasses.dataclass(frozen=True)
class CloudSplit:
    """Clouds of one number of points.

    Attributes:
      points: float32 ``[N, P, 3]``, every object about its mean with radius 1.
      labels: int32 ``[N]``.
      resolution: voxels a dimension.
      padding: voxels at either end that stay empty.
      fit: what fills the volume: the unit ball, or each object's bounding cube.
      render: voxels that this takes, in the middle of the volume; ``None``: all but ``padding``.
      changes: what is done to them at random; ``None``: nothing.
    """

    points: np.ndarray
    labels: np.ndarray
    resolution: int
    padding: int = 0
    fit: Literal["sphere", "cube"] = "sphere"
    render: int | None = None
    changes: AugmentedSection | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.resolution,) * 3 + (1,)

    @property
    def peak_density(self) -> float:
        """Of the objects as they are, with ``HEADROOM`` where they are changed; a point fills one voxel at most."""
        headroom = 1.0 if self.changes is None else HEADROOM
        return min(headroom * self._fullest, self.points.shape[1]) / self.resolution**3

    @functools.cached_property
    def _fullest(self) -> int:
        """Voxels of the object with the most."""
        return max(len(self.voxels(number)) for number in range(len(self)))

    def voxels(self, number: int, rng: np.random.Generator | None = None) -> np.ndarray:
        """The voxels of one object, int32 ``[M, 3]``; changed if there is a generator to draw from."""
        cloud = self.points[number]
        changes = None if rng is None else self.changes
        if changes is not None and rng is not None:
            if changes.rotation != "none":
                cloud = rotate_points(cloud, rng, UP if changes.rotation == "up" else None)
            if changes.jitter:
                cloud = jitter_points(cloud, rng, changes.jitter, changes.jitter_clip)
        if self.fit == "cube":
            cloud = normalize_points(cloud, "cube")
        if changes is not None and rng is not None:
            if changes.affine:
                cloud = affine_points(cloud, rng, changes.affine)
            if changes.translation:
                cloud = translate_points(cloud, rng, changes.translation)
        half = 1.0
        if self.render is not None:
            # A little more: the upper faces of an object's box, too, lie in the last voxel of render.
            half = self.resolution / self.render * (1 + 1e-6)
        # What a change moves out of the volume is lost.
        return voxelize_points(cloud, self.resolution, padding=self.padding, bounds=(-half, half))

    def gather(
        self, index: np.ndarray, draw: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        images = np.zeros((len(index), *self.image_shape), np.float32)
        for row, number in enumerate(index.tolist()):
            # A generator an object: what is drawn depends on nothing else than the run's seed, epoch and object.
            rng = None if draw is None else np.random.default_rng([*draw, number])
            images[row][tuple(self.voxels(number, rng).T)] = 1
        return images, self.labels[index]
