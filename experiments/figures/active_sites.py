"""Table 1 of S3DCNN: the share of active sites behind every layer, an object drawn small in a large field."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import S3DCNNConfig, load_config
from experiments.data import load_dataset
from experiments.data.active_sites import active_sites, layer_names, layer_sizes
from experiments.data.meshes import SUFFIXES
from experiments.data.site_lists import object_sites
from experiments.errors import ConfigError, DataError
from experiments.figures.spec import ActiveSitesConfig
from jaxsparse.data import load_mesh, voxelize_mesh

PAPER = (0.18, 0.35, 0.69, 1.07, 1.93, 3.26, 7.32, 15.14, 46.30, 97.54, 100.00, 100.00)
"""Percent, as printed: of ModelNet40's meshes drawn at 40 in 126^3, input first, the leaky ReLUs and poolings in order."""
PAPER_SETTING = (5, 40)
"""Depth and render size of it."""


def measure(config: ActiveSitesConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for the experiment's clouds, and one for the meshes if there are any; ``path`` is the figure's file."""
    texts = [f"{key}={json.dumps(value)}" for key, value in config.set.items()]
    run = load_config(path.parent / config.base, texts)
    if not isinstance(run.model, S3DCNNConfig):
        raise ConfigError(f"{config.base} is no experiment with model.kind s3dcnn")
    depth, dataset = run.model.depth, load_dataset(run.data)
    field = dataset.image_shape[0]
    render = getattr(run.data, "render", None) or field
    chosen = np.unique(np.linspace(0, len(dataset.test) - 1, config.objects).astype(int))
    objects = [object_sites(dataset.test, number)[0] for number in chosen.tolist()]
    rows = [_row(dataset.name, objects, field, render, depth)]
    if config.meshes is not None:
        objects = [
            _placed(voxelize_mesh(load_mesh(file), render), render, field)
            for file in _files(config.meshes)
        ]
        rows.append(_row("meshes", objects, field, render, depth))
    return rows


def _files(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"no meshes ({' '.join(SUFFIXES)}) below {folder}")
    return found


def _placed(coords: np.ndarray, render: int, field: int) -> np.ndarray:
    return coords + (field - render) // 2


def _row(
    source: str, objects: list[np.ndarray], field: int, render: int, depth: int
) -> dict[str, Any]:
    counts = np.array([active_sites(coords, field, depth) for coords in objects], np.float64)
    sizes = layer_sizes(field, depth)
    percent = 100 * counts.mean(axis=0) / np.array(sizes, np.float64) ** 3
    return {
        "source": source,
        "objects": len(objects),
        "render": render,
        "depth": depth,
        "layers": layer_names(depth),
        "sizes": sizes,
        "sites": [round(float(value), 1) for value in counts.mean(axis=0)],
        "percent": [round(float(value), 4) for value in percent],
    }


def lines(config: ActiveSitesConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    first = rows[0]
    compared = (first["depth"], first["render"]) == PAPER_SETTING
    titles = [f"{row['source']}: {row['objects']} objects" for row in rows]
    text = [
        f"Objects drawn at {first['render']} voxels in the middle of {first['sizes'][0]}^3. A site is active behind a layer if an "
        "active site lies in its window; counted from coordinates alone (`experiments/data/active_sites.py`), as the layers of "
        "`jaxsparse.models.S3DCNN` count them.",
        "",
        "| layer | voxels | "
        + " | ".join(f"{title}: active sites | %" for title in titles)
        + (" | paper: % |" if compared else " |"),
        "|---|---|" + "---|---|" * len(rows) + ("---|" if compared else ""),
    ]
    for index, name in enumerate(first["layers"]):
        size = first["sizes"][index]
        cells = " | ".join(
            f"{row['sites'][index]:.0f} | {row['percent'][index]:.2f}" for row in rows
        )
        paper = f" {PAPER[index]:.2f} |" if compared else ""
        text.append(f"| {name} | {size}³ | {cells} |{paper}")
    if compared:
        text += [
            "",
            "The paper measured ModelNet40's meshes, whose surfaces are closed; a cloud of 1,024 points has a voxel for each of "
            "them at most, so its first layers hold fewer sites.",
        ]
    return text


def draw(config: ActiveSitesConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    for row, colour in zip(rows, ("#2274a5", "#0b6e4f"), strict=False):
        axes.plot(row["percent"], marker="o", markersize=4, label=row["source"], color=colour)
    first = rows[0]
    if (first["depth"], first["render"]) == PAPER_SETTING:
        axes.plot(PAPER, "--", marker="x", color="#9e2a2b", label="paper, meshes")
    axes.set_xticks(range(len(first["layers"])), first["layers"], rotation=45, fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("active sites, %")
    axes.set_title(f"Objects at {first['render']} in {first['sizes'][0]}³", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=150)
