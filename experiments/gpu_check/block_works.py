"""What is measured of block-sparse convolution: the layers of SBNet's Tables 1 and 2. Only names, no JAX."""

import dataclasses
import math
from collections.abc import Callable, Iterator

SHAPES = ((400, 704), (200, 352), (100, 176), (50, 88))
UNITS = dict(zip(SHAPES, ((96, 8.22), (192, 6.27), (256, 3.73), (384, 1.64)), strict=True))
"""Residual units: channels, and the paper's speed-up at sparsity .9 (Table 2)."""
CONVOLUTIONS = dict(zip(SHAPES, ((24, 3.39), (48, 2.47), (64, 1.34), (96, 0.88)), strict=True))
"""Single 3 x 3 convolutions (Table 1)."""
SPARSITIES = (0.9, 0.5, 0.95, 0.75, 0.99)
"""The first is the one that the tables are about."""
CHAIN = 6
"""Residual units one after the other, with one list, as in a stage of the paper's network."""
TILES = {400: (16, 24, 32), 200: (16, 24, 32), 100: (8, 16, 24), 50: (8, 16, 24)}
"""By the height of a map: sides of the tiles that are tried. The paper searches, too."""
PRECISIONS = ("TF32", "float32")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of the tables.

    Attributes:
      kind: ``"unit"`` or ``"conv"``.
      shape: of the map.
      channels: in and out.
      paper: the speed-up to reach at sparsity .9; None: the paper has none.
      sparsities: of the masks.
      tiles: sides of tiles to choose from.
      units: how many follow each other.
    """

    kind: str
    shape: tuple[int, int]
    channels: int
    paper: float | None
    sparsities: tuple[float, ...]
    tiles: tuple[int, ...]
    units: int = 1

    def __str__(self) -> str:
        return f"{self.kind} {self.shape[0]}x{self.shape[1]}x{self.channels}"

    def row(self, sparsity: float, precision: str) -> str:
        """The name of a row."""
        return f"block {self} sparsity {sparsity:g} {precision}"

    def rows(self) -> tuple[str, ...]:
        """The names of all rows."""
        return tuple(self.row(s, p) for p in PRECISIONS for s in self.sparsities)


def top_left(shape: tuple[int, int], sparsity: float) -> tuple[int, int]:
    """Sides of the rectangle in the upper left corner that is active: both in the ratio of the map's."""
    side = math.sqrt(1 - sparsity)
    return round(shape[0] * side), round(shape[1] * side)


def tables(sparsities: tuple[float, ...] = SPARSITIES[:1]) -> Iterator[Layer]:
    """The layers of both tables, at their sparsity."""
    for kind, table, units in (("unit", UNITS, CHAIN), ("conv", CONVOLUTIONS, 1)):
        for shape, (channels, paper) in table.items():
            yield Layer(kind, shape, channels, paper, sparsities, TILES[shape[0]], units)


def others() -> Iterator[Layer]:
    """The same layers at other sparsities (Fig. 6)."""
    yield from tables(SPARSITIES[1:])


def rehearsal() -> Iterator[Layer]:
    """Every path, tiny."""
    yield Layer("unit", (24, 20), 8, None, (0.9, 0.5), (6, 8), 2)
    yield Layer("conv", (24, 20), 4, None, (0.9,), (6, 8))


PARTS: dict[str, Callable[[], Iterator[Layer]]] = {
    "tables": tables,
    "sparsities": others,
    "rehearsal": rehearsal,
}


def rows(part: str) -> tuple[str, ...]:
    """The names of a part's rows."""
    return tuple(row for layer in PARTS[part]() for row in layer.rows())


KERNEL_SIZES = {"kernels": (400, 704, 96, 8, 18), "rehearsal": (24, 20, 8, 2, 8)}
"""What each kernel is called with: height, width, channels and batch of the map, side of the windows. Half of it is active."""


def kernel_row(kernel: str, size: tuple[int, ...]) -> str:
    """The name of a kernel's row."""
    return f"block kernel {kernel} {_described(size)}"


def launches_row(kernel: str, size: tuple[int, ...]) -> str:
    """The name of the row that says what a call starts."""
    return f"launches {kernel} {_described(size)}"


def _described(size: tuple[int, ...]) -> str:
    height, width, channels, batch, window = size
    return f"{height}x{width}x{channels} batch {batch} windows of {window}"
