"""The search for the fastest block size, on the mask of a real sweep: time over size for the units of SBNet's backbone."""

import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.detection.config import load_detector
from experiments.detection.draw import LICENCE
from experiments.detection.frames import read_scene
from experiments.figures.spec import BlockSizeConfig
from jaxsparse import block, data, nn

TITLE = "The block-size search on a real sweep"


def measure(config: BlockSizeConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for each resolution: the time of a unit for every block size, and that of its dense twin."""
    settings = [f"{key}={json.dumps(value)}" for key, value in config.set.items()]
    frames = load_detector(path.parent / config.base, settings).data
    scene = read_scene(frames, config.frame)
    mask = jnp.asarray(data.box_mask(scene.boxes, frames.grid, dilation=config.dilation))[None]
    rows = []
    for level, features in enumerate(config.features, start=1):
        shape = tuple(-(-n // 2**level) for n in frames.grid.shape[:2])
        unit = nn.BlockResidualUnit(features, rngs=nnx.Rngs(level))
        unit.eval()
        x = jax.random.normal(jax.random.key(level), (1, *shape, features))
        here = nn.resize_mask(mask, shape)

        def run(blocks: block.BlockIndices, x: jax.Array, unit: nn.BlockResidualUnit = unit) -> Any:
            return unit(x, blocks)

        found = block.tune(
            run,
            here,
            x,
            kernel_sizes=(1, 3, 1),
            repeats=config.repeats,
            block_sizes=config.block_sizes,
            donate_argnums=(0,),  # the unit adds onto its map in place
        )
        best = found.geometry.block_size
        rows.append(
            {
                "shape": [*shape, features],
                "mask": float(jnp.mean(here.astype(jnp.float32))),
                "seconds": [[*size, seconds] for size, seconds in found.seconds.items()],
                "best": list(best),
                "blocks": int(block.reduce_mask(here, found.geometry).count),
                "grid": list(found.geometry.grid),
                "dense": _seconds(jax.jit(lambda x, unit=unit: unit(x)), x, config.repeats),
            }
        )
    return rows


def _seconds(run: Any, x: jax.Array, repeats: int) -> float:
    """The shortest time of a call, as ``block.tune`` takes it."""
    jax.block_until_ready(run(x))
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(run(x))
        times.append(time.perf_counter() - begin)
    return min(times)


def lines(config: BlockSizeConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    text = [
        f"`block.tune` on frame {config.frame} of KITTI: the mask is its labelled objects, grown by {config.dilation:g} m, what a "
        "mask network learns. One residual unit of SBNet's backbone (1 x 1, 3 x 3, 1 x 1 convolutions, a quarter of the "
        "channels inside) at each resolution. A time is the shortest call of one compiled program, mask reduction included, "
        "the scatter in place (the map is donated). Dotted in the picture: the dense twin.",
        "",
        "| map | mask | best block | blocks active | ms at the best | ms at the worst | dense ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = [entry[-1] for entry in row["seconds"]]
        share = f"{row['blocks']} of {int(np.prod(row['grid']))}"
        text.append(
            f"| {' x '.join(map(str, row['shape']))} | {100 * row['mask']:.1f} % | {' x '.join(map(str, row['best']))} | {share} | "
            f"{1e3 * min(times):.1f} | {1e3 * max(times):.1f} | {1e3 * row['dense']:.1f} |"
        )
    text += [
        "",
        "Small blocks read their halo many times over and cost a step each; large ones compute what no mask asked for.",
        "",
        f"{LICENCE}.",
    ]
    return text


def draw(config: BlockSizeConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colours = ("#2274a5", "#e09f3e", "#2a9d3a", "#d1495b")
    for row, colour in zip(rows, colours * len(rows), strict=False):
        size = [entry[0] for entry in row["seconds"]]
        times = [1e3 * entry[-1] for entry in row["seconds"]]
        axes.plot(
            size, times, "o-", markersize=4, color=colour, label=" x ".join(map(str, row["shape"]))
        )
        i = int(np.argmin(times))
        axes.plot(size[i], times[i], "o", markersize=11, fillstyle="none", color=colour)
        axes.axhline(1e3 * row["dense"], color=colour, linestyle=":", linewidth=1)
    axes.plot([], [], ":", color="#555555", linewidth=1, label="its dense twin")
    axes.plot([], [], "o", markersize=11, fillstyle="none", color="#555555", label="fastest block")
    axes.set_yscale("log")
    axes.set_xlabel("edge of the window, pixels of that map")
    axes.set_ylabel("ms a residual unit")
    axes.set_title(f"Block sizes tried by block.tune, KITTI frame {config.frame}", fontsize=11)
    axes.grid(alpha=0.3, which="both")
    figure.legend(fontsize=8, loc="outside right center", title="map, channels")
    figure.savefig(path, dpi=130)
