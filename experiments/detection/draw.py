"""A frame from above, as SBNet's Fig. 8: the sweep and its mask, the blocks, what is found."""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.detection.config import DetectorConfig
from experiments.detection.evaluate import Runner, load_trained
from experiments.detection.frames import Frames, Scene, single
from experiments.detection.rotated import Detections, corners
from experiments.detection.step import image
from experiments.errors import UserError
from jaxsparse import block

TRUTH, MASK, BLOCKS, SPARSE, DENSE = "#2a9d3a", "#2274a5", "#e09f3e", "#d1495b", "#4b3f72"
ELSEWHERE = "#a9a4bd"
LICENCE = "Data: KITTI, Geiger et al. 2012, CC BY-NC-SA 3.0"


def draw(run_dir: Path, frame: str, output: Path, overrides: tuple[str, ...] = ()) -> None:
    """Draws a frame of a trained detector's run as PNG.

    Raises:
      UserError: the run has no such frame, or cannot be read.
    """
    _, config, frames, model = load_trained(run_dir, overrides)
    scene = _scene(frames, frame)
    batch = frames.sample(scene)
    x = image(single(batch))
    runner = Runner(model, config)
    found, dense = runner.both(x)
    chosen = np.asarray(found.logits[0]) > np.log(
        config.model.mask.threshold / (1 - config.model.mask.threshold)
    )
    picture(
        config,
        scene,
        chosen,
        found.lists["down1"],
        runner.detections(found.maps),
        runner.detections(dense),
        output,
        trained_on=scene.name in config.data.train,
    )


def _scene(frames: Frames, name: str) -> Scene:
    for scene in (*frames.train, *frames.test):
        if scene.name == name:
            return scene
    held = ", ".join(scene.name for scene in (*frames.train, *frames.test))
    raise UserError(f"--frame {name}: the run has the frames {held}")


def picture(
    config: DetectorConfig,
    scene: Scene,
    mask: np.ndarray,
    blocks: block.BlockIndices,
    sparse: Detections,
    dense: Detections,
    output: Path,
    *,
    trained_on: bool,
) -> None:
    """Three views of a frame, one above the other: mask, blocks, detections."""
    from matplotlib.collections import PatchCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, Polygon, Rectangle
    from matplotlib.patheffects import withStroke

    grid = config.data.grid
    (x0, x1), (y0, y1) = grid.x_range, grid.y_range
    width = 8.0
    height = width * (y1 - y0) / (x1 - x0)
    figure = Figure(figsize=(width, 3 * height + 1.4), layout="constrained")
    views = figure.subplots(3, sharex=True)
    points = scene.points[:, :2]
    for axes in views:
        axes.plot(*points.T, ",", color="#333333", alpha=0.55, zorder=1)
        axes.set_xlim(x0, x1)
        axes.set_ylim(y0, y1)
        axes.set_aspect("equal")
        axes.set_ylabel("m to the left")
        axes.plot(x0, 0, ">", color="black", markersize=9, clip_on=False, zorder=5)
    views[-1].set_xlabel("m in front of the car that carries the LiDAR (triangle)")
    truth = corners(scene.flat_boxes())

    def outline(axes: Any, quads: np.ndarray, **style: Any) -> None:
        for quad in quads:
            axes.add_patch(Polygon(quad, closed=True, fill=False, **style))

    # 1: the mask. Its last pixels may reach beyond the map.
    edge = config.model.mask.downsample * grid.cell
    rows, columns = mask.shape
    shown = np.ma.masked_where(~mask, np.ones(mask.shape))
    views[0].imshow(
        shown, origin="lower", extent=(x0, x0 + columns * edge, y0, y0 + rows * edge),
        cmap=_single(MASK), alpha=0.45, zorder=0, interpolation="nearest", aspect="equal",
    )  # fmt: skip
    outline(views[0], truth, color=TRUTH, linewidth=1.8, zorder=3)
    views[0].set_xlim(x0, x1)
    views[0].set_ylim(y0, y1)
    views[0].set_title(
        f"1. Where to look: the mask network marks {100 * mask.mean():.1f} % of the map",
        loc="left", fontsize=10,
    )  # fmt: skip
    views[0].legend(
        handles=[
            Line2D([], [], color="#333333", marker=".", linestyle="", label="LiDAR points"),
            Patch(color=MASK, alpha=0.45, label="predicted mask"),
            Line2D([], [], color=TRUTH, linewidth=1.8, label="labelled car"),
        ],
        **LEGEND,
    )

    # 2: the tiles of the first unit, in metres.
    geometry = blocks.geometry
    tile, scale = geometry.tile, grid.cell * grid.shape[0] / geometry.tile.spatial_shape[0]
    used = np.asarray(blocks.indices)[: int(blocks.stored), 1:]
    start = np.array(tile.offset) + used * np.array(tile.stride)
    rectangles = [
        Rectangle((x0 + j * scale, y0 + i * scale), tile.size[1] * scale, tile.size[0] * scale)
        for i, j in start
    ]
    views[1].add_collection(
        PatchCollection(rectangles, facecolor=BLOCKS, edgecolor="#8a5a00", alpha=0.55, zorder=0)
    )
    share = len(used) / geometry.blocks
    views[1].set_title(
        f"2. What is computed: {len(used)} of {geometry.blocks} blocks ({100 * share:.0f} %), everything else is skipped",
        loc="left", fontsize=10,
    )  # fmt: skip
    views[1].legend(handles=[Patch(color=BLOCKS, alpha=0.55, label="active block")], **LEGEND)

    # 3: detections.
    outline(views[2], truth, color=TRUTH, linewidth=3.2, zorder=2)
    outline(views[2], corners(sparse.boxes), color=SPARSE, linewidth=1.6, zorder=3)
    # Where no block was computed, training on blocks taught the dense twin nothing.
    row_column = np.floor((dense.boxes[:, 1::-1] - (y0, x0)) / scale)
    computed = (
        (row_column[:, None] >= start) & (row_column[:, None] < start + np.array(tile.size))
    ).all(-1)
    here = computed.any(-1)
    quads = corners(dense.boxes)
    outline(views[2], quads[~here], color=ELSEWHERE, linewidth=1.0, linestyle=":", zorder=2)
    outline(views[2], quads[here], color=DENSE, linewidth=1.3, linestyle=":", zorder=4)
    halo = [withStroke(linewidth=2.5, foreground="white")]
    for box, score in zip(sparse.boxes, sparse.scores, strict=True):
        views[2].annotate(
            f"{score:.2f}", box[:2], (0, 9), textcoords="offset points", color=SPARSE, fontsize=8,
            ha="center", zorder=5, path_effects=halo,
        )  # fmt: skip
    role = "a frame it was trained on" if trained_on else "a frame it never saw in training"
    views[2].set_title(f"3. What is found, in {role}", loc="left", fontsize=10)
    views[2].legend(
        handles=[
            Line2D([], [], color=TRUTH, linewidth=3.2, label="labelled car"),
            Line2D([], [], color=SPARSE, label="block-sparse network, with score"),
            Line2D([], [], color=DENSE, linestyle=":", label="its dense twin, same weights"),
            Line2D(
                [], [], color=ELSEWHERE, linestyle=":", label="dense twin, outside of the blocks"
            ),
        ],
        **LEGEND,
    )
    figure.suptitle(f"KITTI frame {scene.name} from above", fontsize=12)
    figure.supxlabel(LICENCE, fontsize=7, color="#666666", x=0.99, ha="right")
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=100)


LEGEND: dict[str, Any] = {"loc": "upper right", "fontsize": 8, "framealpha": 0.9}


def _single(colour: str) -> Any:
    from matplotlib.colors import ListedColormap

    return ListedColormap([colour])
