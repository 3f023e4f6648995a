"""The geometry of a block on one drawing: window, tile, halo, offset, stride, numbers of the image's pixels."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures.spec import BlockGeometryConfig
from jaxsparse import block

TITLE = "A block: window, tile, halo, offset"
PLAIN: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.9}
PIXEL, WINDOW, TILE, OTHER = "#f4f4f4", "#2274a5", "#e09f3e", "#9a9a9a"


def _geometry(config: BlockGeometryConfig) -> block.Geometry:
    return block.geometry(config.spatial_shape, config.block_size, kernel_sizes=config.kernel_sizes)


def measure(config: BlockGeometryConfig, path: Path) -> list[dict[str, Any]]:
    """The boxes of the geometry and the blocks that the marked pixel makes active: one JSON-like row."""
    geometry = _geometry(config)
    mask = np.zeros((1, *config.spatial_shape), bool)
    mask[(0, *config.marked)] = True
    blocks = block.reduce_mask(mask, geometry)
    return [
        {
            "grid": list(geometry.grid),
            "window": {**_box(geometry.window)},
            "tile": {**_box(geometry.tile)},
            "active": np.asarray(blocks.indices)[: int(blocks.count), 1:].tolist(),
        }
    ]


def _box(tiling: block.Tiling) -> dict[str, list[int]]:
    return {name: list(getattr(tiling, name)) for name in ("size", "stride", "offset")}


def lines(config: BlockGeometryConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    (row,) = rows
    window, tile = row["window"], row["tile"]
    chain = " then ".join(f"{n} x {n}" for n in config.kernel_sizes)
    rows_, columns = config.spatial_shape
    halo = -window["offset"][0]

    def size(numbers: list[int]) -> str:
        return " x ".join(map(str, numbers))

    return [
        f"`block.geometry(({rows_}, {columns}), {config.block_size}, kernel_sizes={config.kernel_sizes})`: an image of "
        f"{rows_} x {columns} pixels, convolutions {chain}.",
        "",
        f"- A **window** ({size(window['size'])} pixels, blue) is what is gathered for a block: all that the convolutions read.",
        f"- A **tile** ({size(tile['size'])} pixels, orange) is what is scattered: all that the convolutions can compute from the "
        "window. Tiles lie side by side and cover the image.",
        f"- The **halo** is the rest of the window, {halo} pixel{'s' * (halo != 1)} on either side here; neighbouring windows share it.",
        f"- The **offset** ({', '.join(map(str, window['offset']))}) is where the first window starts: outside the image, by the "
        "padding. Pixels out there are 0.",
        f"- The **stride** ({size(window['stride'])}) is the way from one window to the next: the tile's size, times the "
        "strides of the convolutions.",
        f"- The **grid** ({size(row['grid'])}) counts the blocks. The last ones may reach beyond the image; what lies outside is "
        "dropped.",
        "",
        "A block is active if its *window* meets the mask. The red pixel makes "
        f"{len(row['active'])} blocks active: it lies in the tile of one and in the halo of the rest, whose tiles depend on it, "
        "too.",
    ]


def draw(config: BlockGeometryConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    (row,) = rows
    window, tile = row["window"], row["tile"]
    height, width = config.spatial_shape
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.subplots()

    def box(tiling: dict[str, list[int]], at: list[int], **style: Any) -> tuple[int, int]:
        y, x = (o + s * i for o, s, i in zip(tiling["offset"], tiling["stride"], at, strict=True))
        h, w = tiling["size"]
        axes.add_patch(Rectangle((x, y), w, h, **style))
        return x, y

    axes.add_patch(
        Rectangle((0, 0), width, height, facecolor=PIXEL, edgecolor="black", linewidth=1.6)
    )
    for i in range(1, height):
        axes.plot((0, width), (i, i), color="#dddddd", linewidth=0.7, zorder=1)
    for j in range(1, width):
        axes.plot((j, j), (0, height), color="#dddddd", linewidth=0.7, zorder=1)
    for i in range(row["grid"][0]):
        for j in range(row["grid"][1]):
            box(tile, [i, j], fill=False, edgecolor=OTHER, linewidth=1, zorder=2)
    shown = list(config.shown)
    for at in (shown, [shown[0], shown[1] + 1]):
        first = at is shown
        box(window, at, facecolor=WINDOW, alpha=0.16, linewidth=0, zorder=3)
        box(window, at, fill=False, edgecolor=WINDOW, linewidth=2.4 if first else 1.4,
            linestyle="-" if first else "--", zorder=5)  # fmt: skip
        if first:
            box(tile, at, facecolor=TILE, alpha=0.75, edgecolor="#8a5a00", linewidth=2, zorder=4)
    y, x = config.marked
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#d1495b", zorder=6))

    wx, wy = (window["offset"][1] + window["stride"][1] * shown[1],
              window["offset"][0] + window["stride"][0] * shown[0])  # fmt: skip
    tx, ty = (tile["offset"][1] + tile["stride"][1] * shown[1],
              tile["offset"][0] + tile["stride"][0] * shown[0])  # fmt: skip

    def arrow(
        start: tuple[float, float], end: tuple[float, float], text: str, at: Any, **style: Any
    ) -> None:
        axes.annotate(
            "",
            end,
            start,
            arrowprops={"arrowstyle": "<->", "linewidth": 1.3, "shrinkA": 0, "shrinkB": 0},
            zorder=8,
        )
        axes.text(at[0], at[1], text, fontsize=10, zorder=9, **style)

    axes.text(tx + tile["size"][1] / 2, ty + tile["size"][0] / 2,
              f"tile {tile['size'][0]} x {tile['size'][1]}\nscattered", ha="center", va="center", fontsize=11, zorder=7)  # fmt: skip
    below = wy + window["size"][0] + 0.5
    arrow((wx, below), (wx + window["size"][1], below), f"window {window['size'][0]} x {window['size'][1]}: gathered",
          (wx + window["size"][1] / 2, below + 0.75), ha="center", color=WINDOW, bbox=PLAIN)  # fmt: skip
    axes.annotate(
        f"halo: {tx - wx} pixel" + "s" * (tx - wx != 1),
        (wx + (tx - wx) / 2, ty + tile["size"][0] - 1.5), (wx - 3.4, ty + tile["size"][0] + 2.6), fontsize=10, color=WINDOW, bbox=PLAIN,
        arrowprops={"arrowstyle": "->", "color": WINDOW}, ha="center", zorder=9,
    )  # fmt: skip
    above = wy - 0.6
    arrow((wx, above), (wx + window["stride"][1], above), f"stride {window['stride'][1]}: to the next window",
          (wx + window["stride"][1] / 2, above - 0.3), ha="center")  # fmt: skip
    axes.annotate(
        f"offset ({window['offset'][0]}, {window['offset'][1]}):\nthe first window starts here",
        (window["offset"][1], window["offset"][0]), (-5.6, -2.1), fontsize=10,
        arrowprops={"arrowstyle": "->"}, ha="center", va="center", zorder=9,
    )  # fmt: skip
    box(window, [0, 0], fill=False, edgecolor=WINDOW, linewidth=1.4, linestyle=":", zorder=5)
    axes.annotate(
        f"a pixel of the mask: it makes\n{len(row['active'])} blocks active",
        (x + 0.9, y + 0.5),
        (width + 5.2, y + 4),
        fontsize=10,
        color="#d1495b",
        bbox=PLAIN,
        arrowprops={"arrowstyle": "->", "color": "#d1495b"},
        ha="center",
        va="center",
        zorder=9,
    )
    axes.text(
        width - 0.2,
        height - 0.3,
        f"image {height} x {width}",
        ha="right",
        va="bottom",
        fontsize=10,
        zorder=9,
    )
    end = tile["stride"][0] * (row["grid"][0] - 1) + tile["size"][0]
    axes.text(width + 0.4, min(end, height + 0.9), "beyond the image:\ngathered as 0, dropped by scatter", fontsize=9,
              va="center", color="#555555", zorder=9)  # fmt: skip
    axes.set_xlim(-9, width + 9)
    axes.set_ylim(max(height, end) + 3.2, -3.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.savefig(path, dpi=100)
