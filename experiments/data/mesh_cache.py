"""Voxels of mesh files, made once: on disk under a key of all that they follow from."""

import dataclasses
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxsparse.data import load_mesh, voxelize_mesh

FORMAT = 1
"""Of the entries and of the way they are made: another one makes them anew."""


@dataclasses.dataclass(frozen=True)
class Voxels:
    """What became of a mesh file.

    Attributes:
      keys: row-major indices of its voxels, uint32, ascending; empty if it is broken.
      watertight: of the mesh.
      problem: why it is broken; empty if it is not.
    """

    keys: np.ndarray
    watertight: bool = False
    problem: str = ""


def voxels_of(path: Path, settings: dict[str, Any], cache: Path | None) -> Voxels:
    """The voxels of a mesh file, from the cache or made and put there.

    Several processes may do this at once: an entry appears whole or not at all, and all of them write the same one. An
    entry that is damaged is made again.

    Args:
      path: the file.
      settings: ``resolution`` and other arguments of ``voxelize_mesh``.
      cache: the folder of entries; ``None``: there is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        return Voxels(np.zeros(0, np.uint32), problem=str(error.strerror or error))
    entry = None if cache is None else cache / f"{_key(content, path.suffix, settings)}.npz"
    found = None if entry is None else _read(entry)
    if found is not None:
        return found
    try:
        mesh = load_mesh(path)
        coords = voxelize_mesh(mesh, **settings)
        keys = np.asarray(np.ravel_multi_index(tuple(coords.T), (settings["resolution"],) * 3))
        made = Voxels(keys.astype(np.uint32), mesh.watertight)
        if not len(keys):
            return dataclasses.replace(made, problem="no voxel is set")
    except (OSError, ValueError) as error:
        return Voxels(np.zeros(0, np.uint32), problem=str(error))
    if entry is not None:
        _write(entry, made)
    return made


def _key(content: bytes, suffix: str, settings: dict[str, Any]) -> str:
    digest = hashlib.sha256(content)
    how = {"format": FORMAT, "suffix": suffix.lower(), **settings}
    digest.update(json.dumps(how, sort_keys=True).encode())
    return digest.hexdigest()


def _read(entry: Path) -> Voxels | None:
    """An entry; ``None`` if there is none or it is damaged (the archive has checksums)."""
    try:
        with entry.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            keys, watertight = archive["keys"], archive["watertight"]
    except Exception:  # whatever is wrong with it, it can be made again
        return None
    if keys.dtype != np.uint32 or keys.ndim != 1 or not len(keys):
        return None
    return Voxels(keys, bool(watertight))


def _write(entry: Path, voxels: Voxels) -> None:
    """Under a name of its own first: readers see the whole entry or none."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=entry.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, keys=voxels.keys, watertight=voxels.watertight)
        os.replace(name, entry)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
