"""What the detector's maps should be, given boxes; and boxes, given the maps."""

from typing import Any, NamedTuple

import numpy as np

from experiments.detection.rotated import Detections, suppress
from jaxsparse.data import BirdsEyeGrid

TYPICAL = (3.9, 1.6)
"""Metres: length and width of a car, which the detector's sizes are relative to."""


class Targets(NamedTuple):
    """Of one frame, at the resolution of the detector's maps.

    Attributes:
      found: float32 ``[rows, columns]``: 1 where a pixel should find a box, 0 where none is, NaN where either will do.
      boxes: float32 ``[rows, columns, 4]``: from the pixel to the box's centre in x and y, metres; logarithms of length and
        width over those of a typical car. 0 where ``found`` is not 1, as the next one.
      orientations: float32 ``[rows, columns, 2]``: cosine and sine of twice the yaw. A box and its half turn are the same.
    """

    found: np.ndarray
    boxes: np.ndarray
    orientations: np.ndarray


def centres(grid: BirdsEyeGrid, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of the pixels of a map over the grid, ``shape`` its size: float64 ``[1, columns]`` and ``[rows, 1]``."""
    rows, columns, _ = grid.shape
    # A map that is a whole number of times coarser, rounded up.
    edge_y, edge_x = (-(-n // m) * grid.cell for n, m in zip((rows, columns), shape, strict=True))
    y = grid.y_range[0] + (np.arange(shape[0]) + 0.5) * edge_y
    x = grid.x_range[0] + (np.arange(shape[1]) + 0.5) * edge_x
    return x[None, :], y[:, None]


def encode(
    boxes: np.ndarray,
    ignored: np.ndarray,
    grid: BirdsEyeGrid,
    shape: tuple[int, int],
    *,
    core: float,
) -> Targets:
    """The targets of a frame.

    Args:
      boxes: float ``[N, 5]``, to be found. Pixels in their inner part find them, the rest of them is left open; the pixel that
        is nearest to a centre finds it in any case. Where boxes overlap, the one whose centre is nearer.
      ignored: float ``[M, 5]``, boxes whose pixels are left open.
      grid: the cells.
      shape: rows and columns of the maps.
      core: the inner part, as a share of length and width.
    """
    x, y = centres(grid, shape)
    found = np.zeros(shape, np.float32)
    regressed = np.zeros((*shape, 4), np.float32)
    orientations = np.zeros((*shape, 2), np.float32)
    nearest = np.full(shape, np.inf)
    for box in np.concatenate([ignored, boxes]):
        found[_inside(box, x, y, 1.0)] = np.nan
    for box in boxes:
        distance = np.hypot(box[0] - x, box[1] - y)
        mine = _inside(box, x, y, core)
        mine.flat[distance.argmin()] = True
        mine &= distance < nearest
        nearest[mine] = distance[mine]
        found[mine] = 1
        size = np.log(box[2:4] / TYPICAL)
        maps = np.broadcast_arrays(box[0] - x, box[1] - y, *size)
        regressed[mine] = np.stack(maps, axis=-1)[mine]
        orientations[mine] = np.cos(2 * box[4]), np.sin(2 * box[4])
    return Targets(found, regressed, orientations)


def _inside(box: np.ndarray, x: np.ndarray, y: np.ndarray, share: float) -> np.ndarray:
    cos, sin = np.cos(box[4]), np.sin(box[4])
    along = cos * (x - box[0]) + sin * (y - box[1])
    across = cos * (y - box[1]) - sin * (x - box[0])
    return (np.abs(along) <= share * box[2] / 2) & (np.abs(across) <= share * box[3] / 2)


def decode(
    maps: dict[str, Any], grid: BirdsEyeGrid, *, score: float, overlap: float, most: int
) -> Detections:
    """The boxes of one frame.

    Args:
      maps: of ``jaxsparse.models.BlockDetector``, without a batch axis.
      grid: the cells.
      score: pixels whose score is not above it make no box.
      overlap: a box that shares more (intersection over union) with a better one is dropped.
      most: the most pixels that make boxes, the best ones.
    """
    logits = np.asarray(maps["classes"], np.float64)[..., 0]
    x, y = np.broadcast_arrays(*centres(grid, logits.shape))
    order = np.argsort(-logits, axis=None, kind="stable")[:most]
    order = order[logits.flat[order] > np.log(score / (1 - score))]
    box = np.asarray(maps["boxes"], np.float64).reshape(-1, 4)[order]
    turn = np.asarray(maps["orientations"], np.float64).reshape(-1, 2)[order]
    boxes = np.column_stack(
        [
            x.flat[order] + box[:, 0],
            y.flat[order] + box[:, 1],
            *(np.array(TYPICAL)[:, None] * np.exp(np.clip(box[:, 2:].T, -3, 3))),
            np.arctan2(turn[:, 1], turn[:, 0]) / 2,
        ]
    )
    return suppress(Detections(boxes, 1 / (1 + np.exp(-logits.flat[order]))), overlap)
