"""What is measured: the grid of ILA-SCNN's Fig. 4 and its harder cousins, and the inputs of a case."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

RESOLUTIONS = (16, 32, 64, 128, 256)
FILTER_DENSITIES = (0.1, 0.3, 0.5, 1.0)
CHANNELS = ((1, 8), (8, 8), (8, 16))
POINTS = ("uniform", "surface")
PASSES = ("forward", "forward+backward")
SELECTIONS = ("without", "with")
KERNEL = 3

Points = Literal["uniform", "surface"]


@dataclasses.dataclass(frozen=True, order=True)
class Group:
    """Cases that share one dense convolution, and so are measured together, alternating with it."""

    passes: str
    channels: tuple[int, int]
    resolution: int

    def __str__(self) -> str:
        return f"r={self.resolution} {self.channels[0]}->{self.channels[1]} {self.passes}"


@dataclasses.dataclass(frozen=True)
class Case:
    """One sparse convolution within a group.

    Attributes:
      points: where the input's entries lie.
      filter_density: the share of weights that are alive.
      selection: ``"without"``: the capacity is the number of responses found, so that nothing overflows;
        ``"with"``: the capacity is ``ceil(volume / r)``.
    """

    points: Points
    filter_density: float
    selection: str


def groups(
    resolutions: Sequence[int], channels: Sequence[tuple[int, int]], passes: Sequence[str]
) -> list[Group]:
    """The groups of a selection of the grid, small volumes first."""
    every = itertools.product(resolutions, channels, passes)
    return [Group(p, c, r) for r, c, p in every]


def cases(
    points: Sequence[Points], filter_densities: Sequence[float], selections: Sequence[str]
) -> Iterator[Case]:
    """The cases of a selection of the grid, within any group."""
    for values in itertools.product(points, filter_densities, selections):
        yield Case(*values)


def filter_mask(channels: tuple[int, int], density: float, seed: int = 0) -> np.ndarray:
    """Which weights are alive: bool ``[3, 3, 3, in, out]``.

    Exactly ``round(density * weights)`` of them, at least one an output channel: 22 of 216 for 1 -> 8 channels at
    density 0.1, the paper's headline case.
    """
    rng = np.random.default_rng([seed, *channels, round(1000 * density)])
    rows = KERNEL**3 * channels[0]
    alive = np.zeros((rows, channels[1]), bool)
    alive[rng.integers(rows, size=channels[1]), np.arange(channels[1])] = True
    wanted = max(channels[1], round(density * alive.size))
    rest = rng.permutation(np.flatnonzero(~alive.ravel()))[: wanted - channels[1]]
    alive.ravel()[rest] = True
    return alive.reshape(*(KERNEL,) * 3, *channels)


@functools.lru_cache(maxsize=4)
def entry_keys(points: Points, resolution: int, channels: int, seed: int = 0) -> np.ndarray:
    """Row-major voxel indices of the input's entries: int32 ``[channels, r^2]``, ascending; density 1/r exactly.

    ``"uniform"``: drawn at random, every channel its own (the paper's data). ``"surface"``: a bumpy closed surface,
    one voxel thick, as of a scanned object; channels lie on it, one voxel outside and one
    voxel inside in turn, as the responses of filters around a surface do.
    """
    rng = np.random.default_rng([seed, resolution, channels])
    if points == "uniform":
        keys = [
            rng.choice(resolution**3, resolution**2, replace=False, shuffle=False)
            for _ in range(channels)
        ]
    else:
        distance = _distance_to_surface(resolution, rng)
        layers = [_nearest(np.abs(distance - offset), resolution**2) for offset in (0, 1, -1)]
        keys = [layers[channel % 3] for channel in range(channels)]
    result = np.sort(np.stack(keys), axis=1).astype(np.int32)
    result.flags.writeable = False  # it is remembered
    return result


def _distance_to_surface(resolution: int, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[r^3]``: the distance of each voxel's centre to a bumpy sphere, along the ray from its centre."""
    axis = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution - 0.5
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    radius = np.sqrt(x * x + y * y + z * z) + np.float32(1e-6)
    # 4 pi R^2 = r^2 voxels for a sphere of a shell one voxel thick.
    surface = np.float32(1 / math.sqrt(4 * math.pi)) * np.ones_like(radius)
    for _ in range(6):
        direction = rng.normal(size=3).astype(np.float32)
        phase = np.float32(rng.uniform(0, 2 * math.pi))
        along = (direction[0] * x + direction[1] * y + direction[2] * z) / radius
        surface += np.float32(0.012) * np.cos(4 * along + phase)
    return ((radius - surface) * resolution).ravel()


def _nearest(distance: np.ndarray, count: int) -> np.ndarray:
    return np.argpartition(distance, count - 1)[:count]
