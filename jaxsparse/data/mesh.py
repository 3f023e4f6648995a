"""Triangle meshes: from arrays, or from any file that trimesh reads."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxsparse._core.checks import expected
from jaxsparse.data import _arguments


@dataclasses.dataclass(frozen=True)
class Mesh:
    """Triangles in space. The constructor does no checking; :func:`voxelize_mesh` does.

    Attributes:
      vertices: ``[V, 3]``, in any unit.
      faces: integers ``[F, 3]``, each row the numbers of a triangle's vertices.
    """

    vertices: Any
    faces: Any

    @property
    def watertight(self) -> bool:
        """Whether every edge belongs to exactly two triangles, vertices at one place being one; triangles with two
        vertices at one place do not count."""
        vertices, faces = checked("Mesh", self)
        _, merged = np.unique(vertices, axis=0, return_inverse=True)
        corners = merged.reshape(-1)[faces]
        ends = np.sort(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1), axis=-1)
        ends = ends[(ends[..., 0] != ends[..., 1]).all(axis=1)].reshape(-1, 2)
        _, counts = np.unique(ends, axis=0, return_counts=True)
        return bool(len(counts) and (counts == 2).all())


def checked(function: str, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """The arrays of a mesh: float64 ``[V, 3]`` and int64 ``[F, 3]``, every number in its range."""
    vertices = _arguments.points(function, mesh.vertices, dims=3, name="vertices")
    faces = np.asarray(mesh.faces)
    if not np.issubdtype(faces.dtype, np.integer) and faces.size:
        raise TypeError(expected(function, "faces", "integers", f"dtype {faces.dtype}"))
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(expected(function, "faces", "[F, 3]", f"shape {faces.shape}"))
    if faces.size and not (faces.min() >= 0 and faces.max() < len(vertices)):
        wording = f"numbers of the {len(vertices)} vertices"
        raise ValueError(expected(function, "faces", wording, f"{faces.min()} to {faces.max()}"))
    return vertices.astype(np.float64), faces.astype(np.int64)


def load_mesh(path: str | os.PathLike[str]) -> Mesh:
    """Reads a mesh file: OFF, OBJ, PLY, STL, glTF and whatever else trimesh reads. Several parts become one mesh.

    OFF files whose header and counts stand on one line (``OFF490 518 0``), as ModelNet has them, are read, too.

    Args:
      path: the file; its ending says the format.

    Returns:
      The mesh as the file has it: polygons cut into triangles, vertices not merged.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, has no triangle, a vertex that is not finite, or is of a format that trimesh does not know.
      ImportError: trimesh is not installed.

    Source: trimesh (Dawson-Haggerty et al.), the extra ``mesh``.

    Example usage::

      >>> import pathlib, tempfile
      >>> from jaxsparse import data

      >>> path = pathlib.Path(tempfile.mkdtemp()) / "triangle.off"
      >>> _ = path.write_text("OFF3 1 0\\n0 0 0\\n1 0 0\\n0 1 0\\n3 0 1 2\\n")
      >>> data.load_mesh(path).faces.tolist()
      [[0, 1, 2]]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(expected("load_mesh", "path", "the path of a file", path))
    try:
        import trimesh
    except ImportError:
        raise ImportError(
            "load_mesh: reading meshes needs trimesh: pip install 'jaxsparse[mesh]'"
        ) from None
    try:
        if path.suffix.lower() == ".off":
            _check_length(path.read_text(encoding="utf-8", errors="replace"))
        # No merging, no repair; materials and textures are not looked at.
        loaded = trimesh.load_mesh(str(path), process=False, skip_materials=True)
        mesh = Mesh(
            np.array(loaded.vertices, np.float64), np.array(loaded.faces, np.int64).reshape(-1, 3)
        )
        checked("load_mesh", mesh)
    except Exception as error:  # parsers of many formats, each with errors of its own
        raise ValueError(f"load_mesh: cannot read {path}: {error}") from error
    if not len(mesh.faces):
        raise ValueError(f"load_mesh: {path} has no triangle")
    return mesh


def _check_length(text: str) -> None:
    """An OFF file must have the lines that its header names: trimesh takes a file that was cut."""
    bare = (line.split("#", 1)[0].strip() for line in text.splitlines())
    lines = [line for line in bare if line]
    head = lines[0].removeprefix("C").removeprefix("OFF").split() if lines else []
    rest = len(lines) - 1
    if not head and rest > 0:
        head, rest = lines[1].split(), rest - 1
    if len(head) >= 2 and rest < int(head[0]) + int(head[1]):
        wanted = int(head[0]) + int(head[1])
        raise ValueError(f"it is truncated: {rest} lines, its header asks for {wanted}")
