"""Fig. 1 of S3DCNN: the same object drawn with more and more voxels."""

import base64
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.meshes import SUFFIXES
from experiments.errors import DataError, UserError
from experiments.figures.spec import RendersConfig
from jaxsparse.data import load_mesh, voxelize_mesh


def measure(config: RendersConfig, path: Path) -> list[dict[str, Any]]:
    """A JSON-like row for each object and render size, its voxels packed."""
    del path
    if config.meshes is None:
        raise UserError("a figure of kind renders needs the folder of its meshes: meshes=DIR")
    files = {
        file.stem: file
        for file in sorted(config.meshes.rglob("*"))
        if file.suffix.lower() in SUFFIXES
    }
    rows = []
    for name in config.objects:
        if name not in files:
            raise DataError(f"no mesh {name} ({' '.join(SUFFIXES)}) below {config.meshes}")
        mesh = load_mesh(files[name])
        for render in config.renders:
            coords = voxelize_mesh(mesh, render)
            rows.append(
                {
                    "object": name,
                    "render": render,
                    "voxels": len(coords),
                    "packed": pack(coords, render),
                }
            )
    return rows


def pack(coords: np.ndarray, size: int) -> str:
    """Voxels of a cube as text: one bit each, row-major, deflated, in base64."""
    bits = np.zeros((size,) * 3, bool)
    bits[tuple(coords.T)] = True
    return base64.b64encode(zlib.compress(np.packbits(bits).tobytes(), 9)).decode()


def unpack(text: str, size: int) -> np.ndarray:
    """What ``pack`` made: int64 ``[M, 3]``."""
    packed = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.argwhere(np.unpackbits(packed, count=size**3).reshape((size,) * 3))


def lines(config: RendersConfig, rows: list[dict[str, Any]]) -> list[str]:
    """The page behind its title, as Markdown."""
    text = [
        "Surfaces of meshes in their bounding cubes (`jaxsparse.data.voxelize_mesh`). The paper shows other objects of "
        "ModelNet40 at the same sizes.",
        "",
        "| object | " + " | ".join(f"{r}³: voxels | density" for r in config.renders) + " |",
        "|---|" + "---|---|" * len(config.renders),
    ]
    for name in config.objects:
        mine = [row for row in rows if row["object"] == name]
        cells = " | ".join(
            f"{row['voxels']:,} | {100 * row['voxels'] / row['render'] ** 3:.1f} %" for row in mine
        )
        text.append(f"| {name} | {cells} |")
    return text


def draw(config: RendersConfig, rows: list[dict[str, Any]], path: Path) -> None:
    """The picture, as PNG."""
    from matplotlib.figure import Figure

    from experiments.retrieval.cubes import draw_cubes

    columns = len(config.renders)
    figure = Figure(figsize=(2.6 * columns, 2.6 * len(config.objects)), layout="constrained")
    grid = figure.subplots(len(config.objects), columns, squeeze=False)
    for axes, row in zip(grid.ravel(), rows, strict=True):
        draw_cubes(axes, unpack(row["packed"], row["render"]))
        axes.set_title(f"{row['object']}, {row['render']}³", fontsize=9)
    figure.savefig(path, dpi=110)
