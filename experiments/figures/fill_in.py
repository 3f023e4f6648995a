"""Fig. 3 of ILA-SCNN: convolutions fill the volume, and a bound that keeps the strongest responses stops it."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.cases import entry_keys
from experiments.figures.spec import FillInConfig
from jaxsparse import direct

TAPS = 27


def measure(config: FillInConfig, path: Path) -> list[dict[str, Any]]:
    """The density behind every layer: a JSON-like row for each kind of points, with the bound and without.

    Kernels of ones on entries of ones: no response can cancel, so the density is that of the support.
    """
    r = config.resolution
    bounds = (None, config.bound or 1 / r)
    return [
        {"points": points, "bound": bound, "density": _densities(points, r, config.layers, bound)}
        for points in config.points
        for bound in bounds
    ]


def _densities(points: Any, resolution: int, layers: int, bound: float | None) -> list[float]:
    volume = resolution**3
    keys = entry_keys(points, resolution, 1)[None]
    x = direct.SparseTensor.from_entries(
        keys, np.ones(keys.shape, np.float32), spatial_shape=(resolution,) * 3
    )

    @jax.jit
    def run(x: direct.SparseTensor) -> list[jax.Array]:
        stored = [x.stored]
        for _ in range(layers):
            # Scaled, so that twenty layers of sums of 27 stay finite.
            kernel = jnp.full((3, 3, 3, 1, 1), 1 / TAPS)
            x = direct.conv(x, kernel, density=1.0 if bound is None else bound)
            stored.append(x.stored)
        return stored

    return [float(count.mean()) / volume for count in run(x)]


def lines(config: FillInConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    r = config.resolution
    first = {row["points"]: row["density"] for row in rows if row["bound"] is None}
    growth = {points: found[1] / found[0] for points, found in first.items()}
    text = [
        f"Data: generated voxels, {r}^3, density 1/{r} exactly. *Uniform*: drawn at random. *Surface*: a bumpy closed "
        "surface, one voxel thick. Setting: convolutions with a kernel of 3x3x3 ones, one behind the other; "
        "*bounded*: each keeps its strongest responses up to the bound.",
        "",
        "| voxels | bound | " + " | ".join(f"layer {n}" for n in range(config.layers + 1)) + " |",
        "|---|---|" + "---|" * (config.layers + 1),
    ]
    for row in rows:
        bound = "none" if row["bound"] is None else f"{row['bound']:.4f}"
        values = " | ".join(f"{value:.4f}" for value in row["density"])
        text.append(f"| {row['points']} | {bound} | {values} |")
    text += [
        "",
        "| | paper | ours | difference |",
        "|---|---|---|---|",
    ]
    for points, factor in growth.items():
        paper = f"{TAPS}, until dense" if points == "uniform" else "less (no number)"
        # Two windows of 27 voxels meet now and then, and some reach beyond the volume.
        difference = f"{factor - TAPS:+.1f}" if points == "uniform" else ""
        text.append(
            f"| growth by the first layer, {points} | {paper} | {factor:.1f} | {difference} |"
        )
    if "uniform" in growth:
        text += [
            "",
            f"The paper's factor of {TAPS} is the limit for voxels that are far from each other and from the border: "
            f"at density 1/{r} neighbourhoods overlap.",
        ]
    return text


def draw(config: FillInConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(("uniform", "surface"), ("#2274a5", "#e09f3e"), strict=True))
    for row in rows:
        bounded = row["bound"] is not None
        label = f"{row['points']}, {'bounded' if bounded else 'no bound'}"
        axes.plot(
            row["density"],
            label=label,
            color=colours[row["points"]],
            linestyle="--" if bounded else "-",
            marker="o",
            markersize=4,
        )
    axes.set_yscale("log")
    axes.set_xlabel("convolutions behind the input")
    axes.set_ylabel("density")
    axes.set_title(f"Fill-in, {config.resolution}³ voxels, kernels 3³")
    axes.grid(alpha=0.3)
    figure.legend(fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=150)
