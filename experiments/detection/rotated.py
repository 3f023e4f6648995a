"""Rotated rectangles on the ground: what they share, and which of many detections stay."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Detections:
    """What a detector found in a frame, the best first.

    Attributes:
      boxes: float64 ``[N, 5]``: x, y of the centre, length, width in metres; yaw in radians, about z, 0 = the length lies along
        x. A box and its half turn are the same.
      scores: float64 ``[N]`` in (0, 1).
    """

    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)


def corners(boxes: np.ndarray) -> np.ndarray:
    """The four corners of rectangles ``[N, 5]``, one after the other around each: float64 ``[N, 4, 2]``."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
    signs = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) / 2
    along, across = (signs[None] * boxes[:, None, 2:4]).transpose(2, 0, 1)
    cos, sin = np.cos(boxes[:, 4:]), np.sin(boxes[:, 4:])
    turned = np.stack([cos * along - sin * across, sin * along + cos * across], axis=-1)
    return turned + boxes[:, None, :2]


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each of rectangles ``[N, 5]`` with each of ``[M, 5]``: float64 ``[N, M]``."""
    import shapely

    left: Any = shapely.polygons(corners(a))
    right: Any = shapely.polygons(corners(b))
    common = shapely.area(shapely.intersection(left[:, None], right[None, :]))
    areas = [np.asarray(shapely.area(polygons)) for polygons in (left, right)]
    return common / (areas[0][:, None] + areas[1][None, :] - common)


def suppress(found: Detections, overlap: float) -> Detections:
    """Non-maximum suppression: from the best score down, a box that shares more than ``overlap`` with one that stays goes.

    Equal scores: the earlier one is better.
    """
    order = np.argsort(-found.scores, kind="stable")
    boxes, scores = found.boxes[order], found.scores[order]
    shared = overlaps(boxes, boxes)
    stays = np.ones(len(scores), bool)
    for i in range(len(scores)):
        if stays[i]:
            stays[i + 1 :] &= shared[i, i + 1 :] <= overlap
    return Detections(boxes[stays], scores[stays])


def match(found: np.ndarray, wanted: np.ndarray, least: float) -> list[tuple[int, int, float]]:
    """Pairs (of ``found``, of ``wanted``, intersection over union) that share ``least`` or more, each box in one pair at most.

    The boxes of ``found`` choose one after the other, the best first: each takes the one it shares most with that is left.
    """
    shared = overlaps(found, wanted)
    pairs = []
    for i in range(len(found)):
        if shared.shape[1] and shared[i].max() >= max(least, 1e-9):
            j = int(shared[i].argmax())
            pairs.append((i, j, float(shared[i, j])))
            shared[:, j] = 0
    return pairs
