"""What ``benchmark block`` measures: SBNet's layers and maps, and the masks."""

import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np

from jaxsparse import data

Kind = Literal["conv", "unit"]

SPATIAL = ((400, 704), (200, 352), (100, 176), (50, 88))
CHANNELS: dict[Kind, tuple[int, ...]] = {"conv": (24, 48, 64, 96), "unit": (96, 192, 256, 384)}
"""Of the maps in ``SPATIAL``: SBNet's Tables 1 and 2."""
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
UNITS = 6
"""Residual units in a chain."""
ASKED: dict[Kind, tuple[float, ...]] = {"conv": (2.5, 4, 5, 6), "unit": (9, 8, 5, 5)}
"""Times the dense twin in XLA, at 90 % synthetic sparsity."""
ASKED_NETWORK = 4.0

GRID = data.BirdsEyeGrid(x_range=(0.0, 70.4), cell=0.1)
"""40 m by 70.4 m as a map of 400 x 704."""
ROAD, BOXES = 0.75, 0.9
"""The sparsities of SBNet's road maps and predicted masks: the frames nearest to them are measured."""
BOX_GROWTH = 1.5
"""Metres by which the boxes of cars grow on all sides."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Cases that share their dense contestants: one layer on one map."""

    layer: Kind
    height: int
    width: int
    channels: int

    @property
    def size(self) -> str:
        """As in result files."""
        return f"{self.height}x{self.width}x{self.channels}"

    def __str__(self) -> str:
        return f"{self.layer} {self.size}"

    @property
    def asked(self) -> float:
        """How many times faster at 90 %."""
        return ASKED[self.layer][CHANNELS[self.layer].index(self.channels)]


@dataclasses.dataclass(frozen=True, eq=False)
class Mask:
    """Which pixels matter.

    Attributes:
      kind: ``"top-left"``, ``"road"`` or ``"boxes"``.
      frame: of KITTI; empty for a synthetic mask.
      asked: the sparsity that a synthetic mask was made for; that of the finest map for another.
      pixels: bool ``[height, width]`` at the finest resolution.
    """

    kind: str
    frame: str
    asked: float
    pixels: np.ndarray

    def at(self, height: int, width: int) -> np.ndarray:
        """Coarser: a pixel is active if one of its finer ones is. Synthetic masks are made anew."""
        if self.kind == "top-left":
            return top_left(height, width, self.asked)
        rows, columns = (n // m for n, m in zip(self.pixels.shape, (height, width), strict=True))
        return np.asarray(self.pixels.reshape(height, rows, width, columns).any((1, 3)))


def groups(layers: tuple[Kind, ...] = ("unit", "conv")) -> list[Group]:
    """All of them."""
    return [
        Group(layer, *shape, channels)
        for layer in layers
        for shape, channels in zip(SPATIAL, CHANNELS[layer], strict=True)
    ]


def top_left(height: int, width: int, sparsity: float) -> np.ndarray:
    """A rectangle in the corner, of the map's proportions: bool ``[height, width]``."""
    edge = (1 - sparsity) ** 0.5
    mask = np.zeros((height, width), bool)
    mask[: round(edge * height), : round(edge * width)] = True
    return mask


def synthetic(sparsities: tuple[float, ...] = SPARSITIES) -> list[Mask]:
    """Top-left masks of the finest map."""
    return [Mask("top-left", "", s, top_left(*SPATIAL[0], s)) for s in sparsities]


def sweeps(kitti: Path) -> list[tuple[str, np.ndarray]]:
    """Names and points of the full sweeps."""
    from experiments.data.kitti import frame_names, read_sweep

    names = frame_names(kitti)
    return [(name, read_sweep(kitti / "velodyne" / f"{name}.bin")) for name in names]


def road_masks(kitti: Path, grid: data.BirdsEyeGrid) -> list[Mask]:
    """The open ground of every full sweep: road-like."""
    found = []
    for name, points in sweeps(kitti):
        pixels = data.ground_mask(points, grid)
        found.append(Mask("road", name, sparsity_of(pixels), pixels))
    return found


def box_masks(kitti: Path, grid: data.BirdsEyeGrid) -> list[Mask]:
    """Grown boxes of the vehicles of every labelled frame: what SBNet's mask network learns."""
    from experiments.data.kitti import read_boxes, read_calibration

    found = []
    for path in sorted((kitti / "label_2").glob("*.txt")):
        boxes = read_boxes(path, read_calibration(kitti / "calib" / path.name))
        vehicles = boxes.of("Car", "Van", "Truck").boxes
        pixels = data.box_mask(vehicles, grid, dilation=BOX_GROWTH)
        if pixels.any():
            found.append(Mask("boxes", path.stem, sparsity_of(pixels), pixels))
    return found


def nearest(masks: list[Mask], sparsity: float) -> Mask:
    """The mask of that sparsity, about."""
    return min(masks, key=lambda mask: abs(mask.asked - sparsity))


def sparsity_of(pixels: np.ndarray) -> float:
    """The share of pixels that are off."""
    return float(1 - pixels.mean())
