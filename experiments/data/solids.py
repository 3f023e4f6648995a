"""Labelled solids made of formulas: the embedded dataset of three dimensions, generated as it is read."""

import dataclasses
from collections.abc import Callable

import numpy as np

from experiments.config import SolidKind, SolidsConfig
from experiments.data.dataset import Dataset
from jaxsparse.data import random_rotation

Inside = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Whether points (x, y, z), in the solid's own frame, lie in it."""


# ---- The solids: proportions are drawn, the size comes later -----------------------------------------------------------
# Each returns the test for points and the radius of a ball around the origin that holds the solid.


def _sphere(rng: np.random.Generator) -> tuple[Inside, float]:
    return lambda x, y, z: x * x + y * y + z * z <= 1, 1.0


def _box(rng: np.random.Generator) -> tuple[Inside, float]:
    a, b = rng.uniform(0.5, 1.0, 2)
    return lambda x, y, z: (abs(x) <= 1) & (abs(y) <= a) & (abs(z) <= b), np.sqrt(1 + a * a + b * b)


def _cylinder(rng: np.random.Generator) -> tuple[Inside, float]:
    h = rng.uniform(0.7, 1.6)
    return lambda x, y, z: (x * x + y * y <= 1) & (abs(z) <= h), np.hypot(1, h)


def _tube(rng: np.random.Generator) -> tuple[Inside, float]:
    h, inner = rng.uniform(0.7, 1.6), rng.uniform(0.55, 0.7)

    def inside(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        squared = x * x + y * y
        return (squared <= 1) & (squared >= inner * inner) & (abs(z) <= h)

    return inside, np.hypot(1, h)


def _capsule(rng: np.random.Generator) -> tuple[Inside, float]:
    h = rng.uniform(0.8, 1.6)
    return lambda x, y, z: x * x + y * y + np.maximum(abs(z) - h, 0) ** 2 <= 1, 1 + h


def _cone(rng: np.random.Generator) -> tuple[Inside, float]:
    h = rng.uniform(0.7, 1.1)  # half of the height
    return lambda x, y, z: (abs(z) <= h) & (x * x + y * y <= ((h - z) / (2 * h)) ** 2), np.hypot(
        1, h
    )


def _torus(rng: np.random.Generator) -> tuple[Inside, float]:
    minor = rng.uniform(0.25, 0.45)
    return lambda x, y, z: (np.hypot(x, y) - 1) ** 2 + z * z <= minor**2, 1 + minor


def _pyramid(rng: np.random.Generator) -> tuple[Inside, float]:
    h = rng.uniform(0.6, 1.0)  # half of the height
    return lambda x, y, z: (abs(z) <= h) & (np.maximum(abs(x), abs(y)) <= (h - z) / (2 * h)), (
        np.sqrt(2 + h * h)
    )


def _tetrahedron(rng: np.random.Generator) -> tuple[Inside, float]:
    # Every second corner of the cube of half edge 1.
    return (
        lambda x, y, z: (x + y + z <= 1) & (x - y - z <= 1) & (y - x - z <= 1) & (z - x - y <= 1),
        np.sqrt(3),
    )


def _octahedron(rng: np.random.Generator) -> tuple[Inside, float]:
    return lambda x, y, z: abs(x) + abs(y) + abs(z) <= 1, 1.0


KINDS: dict[SolidKind, Callable[[np.random.Generator], tuple[Inside, float]]] = {
    "sphere": _sphere,
    "box": _box,
    "cylinder": _cylinder,
    "tube": _tube,
    "capsule": _capsule,
    "cone": _cone,
    "torus": _torus,
    "pyramid": _pyramid,
    "tetrahedron": _tetrahedron,
    "octahedron": _octahedron,
}


# ---- From a solid to voxels ----------------------------------------------------------------------------------------------


def voxelise(kind: SolidKind, resolution: int, rng: np.random.Generator) -> np.ndarray:
    """A solid of random proportions, pose, size and place, whole inside the volume: bool ``[r, r, r]``, True inside."""
    inside, extent = KINDS[kind](rng)
    turn = random_rotation(rng)
    half = (resolution - 1) / 2
    radius = rng.uniform(0.65, 0.98) * half
    centre = half + rng.uniform(-1, 1, 3) * (half - radius)
    # Voxel centres in the solid's frame: the transposed rotation of (voxel - centre), one axis of the grid at a time.
    grid = np.arange(resolution) - centre[:, None]
    frame = (turn * (extent / radius)).astype(np.float32)
    i, j, k = grid.astype(np.float32)
    i, j, k = i[:, None, None], j[None, :, None], k[None, None, :]
    x, y, z = (i * frame[0, a] + j * frame[1, a] + k * frame[2, a] for a in range(3))
    return inside(x, y, z)


def surface(inside: np.ndarray) -> np.ndarray:
    """The voxels of a solid with one of their six neighbours outside."""
    padded = np.pad(inside, 1)
    core = padded.copy()
    for axis in range(3):
        core &= np.roll(padded, 1, axis) & np.roll(padded, -1, axis)
    return inside & ~core[1:-1, 1:-1, 1:-1]


@dataclasses.dataclass(frozen=True)
class SolidSplit:
    """Solids made when they are asked for; number ``i`` is always the same one.

    Attributes:
      config: resolution, fill, seed.
      size: how many there are.
      stream: which of the seed's streams: splits share no solid.
    """

    config: SolidsConfig
    size: int
    stream: int

    def __len__(self) -> int:
        return self.size

    @property
    def image_shape(self) -> tuple[int, ...]:
        return (self.config.resolution,) * 3 + (1,)

    @property
    def peak_density(self) -> float:
        return 1.0  # not known without making them all

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(np.arange(self.size) % len(self.config.kinds), np.int32)

    def label(self, index: int) -> int:
        """Kinds take turns, so every one is equally frequent."""
        return index % len(self.config.kinds)

    def voxels(self, index: int) -> np.ndarray:
        """Solid number ``index``: bool ``[r, r, r]``."""
        rng = np.random.default_rng([self.config.seed, self.stream, index])
        inside = voxelise(self.config.kinds[self.label(index)], self.config.resolution, rng)
        return surface(inside) if self.config.fill == "surface" else inside

    def gather(
        self, index: np.ndarray, draw: tuple[int, int] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        images = np.empty((len(index), *self.image_shape), np.float32)
        for row, number in enumerate(index.tolist()):
            images[row, ..., 0] = self.voxels(number)
        return images, np.asarray(index % len(self.config.kinds), np.int32)


def load_solids(config: SolidsConfig) -> Dataset:
    """Solids for training and for testing; nothing is generated yet."""
    fill = "surfaces" if config.fill == "surface" else "solids"
    return Dataset(
        f"{fill} in {config.resolution}^3 voxels",
        train=SolidSplit(config, config.train_size, stream=0),
        test=SolidSplit(config, config.test_size, stream=1),
        class_names=config.kinds,
    )
