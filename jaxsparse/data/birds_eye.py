"""Bird's-eye maps of LiDAR sweeps and masks on them: where points are, where boxes stand, where the ground is open."""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.data import _arguments

NEAR = 10.0
"""Metres around the sensor where open ground begins."""


@dataclasses.dataclass(frozen=True)
class BirdsEyeGrid:
    """How a sweep is cut into cells: rows run along y (from right to left of the sensor), columns along x (forward).

    The default is the grid of SBNet's detector: 40 m by 70 m in cells of 5 cm, heights in bins of 20 cm, one bin for what
    is lower and one for what is higher: 800 x 1400 x 33. (The paper gives the sizes; its heights, in a frame of its
    own, are -2 m to 4 m; here they start at -2 m, where the sensor is 1.73 m above the road as KITTI's.)

    Attributes:
      x_range: metres in front of the sensor, lower and upper end.
      y_range: metres to its left.
      z_range: metres above it.
      cell: metres, the edge of a cell in x and y.
      height: metres, of a bin in z.

    Raises:
      ValueError: a range is not finite and rising, or no whole number of cells to 1 part in 1000; a size is not above 0.

    Example usage::

      >>> from jaxsparse import data

      >>> data.BirdsEyeGrid().shape
      (800, 1400, 33)
    """

    x_range: tuple[float, float] = (0.0, 70.0)
    y_range: tuple[float, float] = (-20.0, 20.0)
    z_range: tuple[float, float] = (-2.0, 4.2)
    cell: float = 0.05
    height: float = 0.2

    def __post_init__(self) -> None:
        for name, size in (("cell", self.cell), ("height", self.height)):
            if checks.number("BirdsEyeGrid", name, size, low=0) == 0:
                raise ValueError(expected("BirdsEyeGrid", name, "above 0", size))
        for name, size in (
            ("x_range", self.cell),
            ("y_range", self.cell),
            ("z_range", self.height),
        ):
            try:
                low, high = map(float, getattr(self, name))
            except (TypeError, ValueError):
                low, high = math.nan, math.nan
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(
                    expected(
                        "BirdsEyeGrid", name, "(low, high) in metres", repr(getattr(self, name))
                    )
                )
            count = (high - low) / size
            if abs(count - round(count)) > 1e-3 * max(count, 1):
                wording = f"a whole number of cells of {size:g} m"
                raise ValueError(expected("BirdsEyeGrid", name, wording, f"{count:g}"))

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(rows, columns, bins)``: the bins between the two ends of ``z_range``, and one beyond each."""
        return (
            _count(self.y_range, self.cell),
            _count(self.x_range, self.cell),
            _count(self.z_range, self.height) + 2,
        )

    def cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points fall: int32 ``[M, 3]`` of (row, column, bin), and which of the points these are, int ``[M]``."""
        points = _sweep("BirdsEyeGrid.cells", points)
        rows, columns, bins = self.shape
        row = np.floor((points[:, 1] - self.y_range[0]) / self.cell)
        column = np.floor((points[:, 0] - self.x_range[0]) / self.cell)
        # Heights outside have a bin of their own at either end.
        level = np.floor((points[:, 2] - self.z_range[0]) / self.height) + 1
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        which = np.flatnonzero(inside)
        level = np.clip(level[which], 0, bins - 1)
        return np.stack([row[which], column[which], level], axis=1).astype(np.int32), which


def birds_eye_map(points: np.ndarray, grid: BirdsEyeGrid | None = None) -> np.ndarray:
    """Which cells of a sweep hold a point.

    Args:
      points: float ``[N, 3]`` or more columns (those behind x, y, z are left alone), metres: x forward, y to the left, z up.
      grid: the cells; left out: ``BirdsEyeGrid()``.

    Returns:
      float32 ``[rows, columns, bins]``, 1 where a point is and 0 elsewhere. Points beside the grid are left out, those above
      and below it are in the last and the first bin.

    Raises:
      ValueError: not so many columns, or a coordinate is not finite.
      TypeError: not an array of real numbers.

    Example usage::

      >>> import numpy as np
      >>> from jaxsparse import data

      >>> data.birds_eye_map(np.array([[10.0, 0.0, -1.7], [10.0, 0.0, 9.0]])).nonzero()
      (array([400, 400]), array([200, 200]), array([ 2, 32]))

    Source: the input of SBNet's detector (Ren et al. 2018, section 5).
    """
    grid = BirdsEyeGrid() if grid is None else grid
    points = _sweep("birds_eye_map", points)
    image = np.zeros(grid.shape, np.float32)
    cells, _ = grid.cells(points)
    image[tuple(cells.T)] = 1
    return image


def occupied_mask(
    points: np.ndarray, grid: BirdsEyeGrid | None = None, *, dilation: float = 0.0
) -> np.ndarray:
    """The ground area that points stand on, grown on all sides.

    Args:
      points: as in :func:`birds_eye_map`; those beside the grid count as far as the growth reaches into it.
      grid: the cells; left out: ``BirdsEyeGrid()``.
      dilation: metres by which the area grows.

    Returns:
      bool ``[rows, columns]``.

    Raises:
      ValueError: as :func:`birds_eye_map`; ``dilation`` is below 0 or not finite.
      TypeError: ``points`` are no array of real numbers, or a number is none.
    """
    grid = BirdsEyeGrid() if grid is None else grid
    reach = _cells_of("occupied_mask", "dilation", dilation, grid)
    points = _sweep("occupied_mask", points)
    margin = reach * grid.cell
    wide = dataclasses.replace(
        grid,
        x_range=(grid.x_range[0] - margin, grid.x_range[1] + margin),
        y_range=(grid.y_range[0] - margin, grid.y_range[1] + margin),
    )
    mask = np.zeros(wide.shape[:2], bool)
    cells, _ = wide.cells(points)
    mask[tuple(cells[:, :2].T)] = True
    mask = _dilate(mask, reach)
    rows, columns, _ = grid.shape
    return mask[reach : reach + rows, reach : reach + columns]


def box_mask(
    boxes: np.ndarray, grid: BirdsEyeGrid | None = None, *, dilation: float = 0.0
) -> np.ndarray:
    """The ground area of boxes, grown on all sides: what SBNet's mask network learns.

    Args:
      boxes: float ``[N, 7]``: x, y, z of the centre, length, width, height in metres, yaw in radians (about z, 0 = the
        length lies along x).
      grid: the cells; left out: ``BirdsEyeGrid()``.
      dilation: metres by which each box grows on all four sides.

    Returns:
      bool ``[rows, columns]``, true for cells whose centre lies in a box.

    Raises:
      ValueError: another shape, a number that is not finite, a size below 0, ``dilation`` below 0 or not finite.
    """
    grid = BirdsEyeGrid() if grid is None else grid
    _cells_of("box_mask", "dilation", dilation, grid)
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 7:
        raise ValueError(expected("box_mask", "boxes", "shape [N, 7]", f"{boxes.shape}"))
    if not np.isfinite(boxes).all():
        raise ValueError(expected("box_mask", "boxes", "finite numbers", "NaN or inf"))
    if boxes.size and boxes[:, 3:6].min() < 0:
        raise ValueError(
            expected("box_mask", "boxes", "sizes of 0 or more", f"{boxes[:, 3:6].min():g}")
        )
    rows, columns, _ = grid.shape
    y = grid.y_range[0] + (np.arange(rows) + 0.5) * grid.cell
    x = grid.x_range[0] + (np.arange(columns) + 0.5) * grid.cell
    mask = np.zeros((rows, columns), bool)
    for centre_x, centre_y, _, length, width, _, yaw in boxes:
        half_length, half_width = length / 2 + dilation, width / 2 + dilation
        cos, sin = math.cos(yaw), math.sin(yaw)
        # Only the cells of the upright rectangle about the box.
        reach_x = abs(cos) * half_length + abs(sin) * half_width
        reach_y = abs(sin) * half_length + abs(cos) * half_width
        i = slice(*np.searchsorted(y, (centre_y - reach_y, centre_y + reach_y)))
        j = slice(*np.searchsorted(x, (centre_x - reach_x, centre_x + reach_x)))
        dy, dx = y[i, None] - centre_y, x[None, j] - centre_x
        along, across = cos * dx + sin * dy, cos * dy - sin * dx
        mask[i, j] |= (np.abs(along) <= half_length) & (np.abs(across) <= half_width)
    return mask


def ground_mask(
    points: np.ndarray,
    grid: BirdsEyeGrid | None = None,
    *,
    patch: float = 0.4,
    roughness: float = 0.15,
    step: float = 0.1,
    slope: float = 0.06,
    gap: tuple[float, float] = (1.0, 5.0),
    ring_spacing: float = 0.005,
    sensor_height: float = 1.73,
) -> np.ndarray:
    """The open ground around the sensor, road-like: flat patches that are joined to those near the sensor.

    A patch is flat if its points differ in height by ``roughness`` at most. One without points, as between the rings of a
    sweep, takes after the nearest that has some, up to a distance that grows as the rings spread over level ground. Flat
    patches that touch are joined where their heights differ by ``step`` at most, and ``slope`` times the distance of what
    they take after; kept is the piece that has the most patches within 10 m of the sensor.

    Args:
      points: as in :func:`birds_eye_map`.
      grid: the cells; left out: ``BirdsEyeGrid()``.
      patch: metres, the edge of a patch; cells are grouped into patches of as many whole cells.
      roughness: metres.
      step: metres.
      slope: metres a metre.
      gap: metres, the least and the most that a patch without points looks for one that has some.
      ring_spacing: radians between neighbouring rings.
      sensor_height: metres of the sensor above the ground.

    Returns:
      bool ``[rows, columns]``; all false where no patch near the sensor is flat.

    Raises:
      ValueError: as :func:`birds_eye_map`; ``patch`` is below a cell; another number is below 0 or not finite.
      TypeError: ``points`` are no array of real numbers, or a number is none.

    Source: stands in for the road maps of SBNet's experiments (Table 3), which are not public; the method is ours.
    """
    from scipy import ndimage

    grid = BirdsEyeGrid() if grid is None else grid
    points = _sweep("ground_mask", points)
    size = _cells_of("ground_mask", "patch", patch, grid)
    if size < 1:
        wording = f"a cell of {grid.cell:g} m or more"
        raise ValueError(expected("ground_mask", "patch", wording, f"{patch:g}"))
    numbers = {
        "roughness": roughness,
        "step": step,
        "slope": slope,
        "ring_spacing": ring_spacing,
    }
    for name, value in numbers.items():
        checks.number("ground_mask", name, value, low=0)
    checks.number("ground_mask", "sensor_height", sensor_height, low=0.01)
    try:
        least, most = (float(metres) for metres in gap)
    except (TypeError, ValueError):
        least, most = math.nan, math.nan
    if not 0 <= least <= most < math.inf:
        wording = "a pair (least, most) of metres, 0 or more"
        raise ValueError(expected("ground_mask", "gap", wording, repr(gap)))
    rows, columns, _ = grid.shape
    shape = (-(-rows // size), -(-columns // size))
    cells, which = grid.cells(points)
    place = np.ravel_multi_index(tuple(cells[:, :2].T // size), shape)
    low, high = np.full(math.prod(shape), np.inf), np.full(math.prod(shape), -np.inf)
    np.minimum.at(low, place, points[which, 2])
    np.maximum.at(high, place, points[which, 2])
    low, high = low.reshape(shape), high.reshape(shape)
    filled = low < np.inf
    if not filled.any():
        return np.zeros((rows, columns), bool)
    found: Any = ndimage.distance_transform_edt(~filled, return_indices=True)
    distance, (row, column) = found[0] * (size * grid.cell), found[1]
    away = _away(grid, size, shape)
    # Half the way to the next ring, and a little.
    known = distance <= np.clip(away**2 * ring_spacing / sensor_height, least, most)
    low, high = low[row, column], high[row, column]
    flat = known & (high - low <= roughness)
    kept = _joined(flat, low, step, slope * distance, near_sensor=away <= NEAR)
    return kept.repeat(size, axis=0).repeat(size, axis=1)[:rows, :columns]


def _joined(
    flat: np.ndarray, low: np.ndarray, step: float, more: np.ndarray, *, near_sensor: np.ndarray
) -> np.ndarray:
    """The piece of flat patches that has the most near the sensor; joined: heights within ``step`` and both ``more``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    number = np.arange(flat.size).reshape(flat.shape)
    starts, ends = [], []
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        a, b = _pairs(shift)
        level = np.abs(low[a] - low[b]) <= step + more[a] + more[b]
        joined = flat[a] & flat[b] & level
        starts.append(number[a][joined])
        ends.append(number[b][joined])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), bool), (start, end)), shape=(flat.size, flat.size))
    _, label = connected_components(graph, directed=False)
    label = label.reshape(flat.shape)
    near = label[flat & near_sensor]
    if not near.size:
        return np.zeros_like(flat)
    return flat & (label == np.bincount(near).argmax())


def _pairs(shift: tuple[int, int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The two windows of an array that lie ``shift`` apart."""
    first, second = [], []
    for s in shift:
        first.append(slice(max(-s, 0), -s if s > 0 else None))
        second.append(slice(max(s, 0), s if s < 0 else None))
    return (first[0], first[1]), (second[0], second[1])


def _away(grid: BirdsEyeGrid, size: int, shape: tuple[int, int]) -> np.ndarray:
    """The distance of each patch from the sensor, metres."""
    y = grid.y_range[0] + (np.arange(shape[0]) + 0.5) * size * grid.cell
    x = grid.x_range[0] + (np.arange(shape[1]) + 0.5) * size * grid.cell
    return np.hypot(y[:, None], x[None, :])


def _dilate(mask: np.ndarray, reach: int) -> np.ndarray:
    """Grown by a disc of so many cells: the cells within that distance of a true one."""
    if reach == 0:
        return mask
    from scipy import ndimage

    if not mask.any():
        return mask
    # The cost of a distance transform does not depend on the radius.
    return np.asarray(ndimage.distance_transform_edt(~mask)) <= reach


def _cells_of(function: str, name: str, metres: float, grid: BirdsEyeGrid) -> int:
    return round(checks.number(function, name, metres, low=0) / grid.cell)


def _sweep(function: str, value: Any) -> np.ndarray:
    """x, y, z of a sweep, float64 ``[N, 3]``."""
    points = np.asarray(value)
    if points.ndim != 2 or points.shape[1] < 3:
        wording = "[N, 3] or more columns"
        raise ValueError(expected(function, "points", wording, f"shape {points.shape}"))
    return _arguments.points(function, points[:, :3], dims=3).astype(np.float64)


def _count(ends: tuple[float, float], size: float) -> int:
    return round((ends[1] - ends[0]) / size)
