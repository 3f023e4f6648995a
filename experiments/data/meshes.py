"""A folder of mesh files, laid out as ModelNet is: CLASS/train/NAME.off and CLASS/test/NAME.off."""

import importlib.util
import os
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import MeshesConfig
from experiments.data.dataset import Dataset
from experiments.data.download import cache_folder
from experiments.data.grids import GridSplit, compact_keys
from experiments.data.mesh_cache import Voxels, voxels_of
from experiments.data.npz import folder_of
from experiments.errors import DataError

SUFFIXES = (".off", ".obj", ".ply", ".stl", ".glb")
PARTS = ("train", "test")
FEW = 16
"""So many files are read here: starting other processes takes longer."""
SHOWN = 5


def load_meshes(config: MeshesConfig) -> Dataset:
    """Finds the files, makes what the cache lacks in several processes, and leaves out what is broken.

    Raises:
      DataError: ``root`` is not given or no folder, there are no files in CLASS/train or CLASS/test, or all are broken.
    """
    root = folder_of(config.root, "CLASS/train/*.off and CLASS/test/*.off")
    if importlib.util.find_spec("trimesh") is None:
        raise DataError("reading meshes needs trimesh: pip install '.[experiments,mesh]'")
    classes = sorted(
        entry.name for entry in root.iterdir() if any((entry / part).is_dir() for part in PARTS)
    )
    files = [
        (part, label, path)
        for part in PARTS
        for label, name in enumerate(classes)
        for path in _files(root / name / part)
    ]
    for part in PARTS:
        if not any(part == found for found, _, _ in files):
            endings = " ".join(SUFFIXES)
            raise DataError(f"{root} has no mesh in CLASS/{part}/ (files that end in {endings})")
    made = _make([path for _, _, path in files], config)

    splits, broken, open_ones = {}, [], 0
    for part in PARTS:
        keys, labels = [], []
        for (found, label, path), voxels in zip(files, made, strict=True):
            if found != part:
                continue
            if voxels.problem:
                broken.append(f"{path.relative_to(root)} ({_brief(voxels.problem, path)})")
                continue
            open_ones += not voxels.watertight
            keys.append(compact_keys(voxels.keys, config.resolution))
            labels.append(label)
        if not keys:
            raise DataError(
                f"{root}: all meshes of CLASS/{part}/ are broken: {'; '.join(broken[:SHOWN])}"
            )
        changes = config if part == "train" and config.changes_anything else None
        splits[part] = GridSplit(keys, np.array(labels, np.int32), config.resolution, changes)
    return Dataset(
        f"meshes of {root.name} in {config.resolution}^3 voxels",
        train=splits["train"],
        test=splits["test"],
        class_names=tuple(classes),
        notes=_notes(config, broken, open_ones, len(files)),
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _make(paths: list[Path], config: MeshesConfig) -> list[Voxels]:
    settings: dict[str, Any] = {
        "resolution": config.resolution,
        "fill": config.fill,
        "padding": config.padding,
        "fit": config.fit,
    }
    cache = config.cache or cache_folder("meshes")
    workers = config.workers or len(os.sched_getaffinity(0))
    if workers == 1 or len(paths) <= FEW:
        return [voxels_of(path, settings, cache) for path in paths]
    import joblib

    jobs = (joblib.delayed(voxels_of)(path, settings, cache) for path in paths)
    made: Any = joblib.Parallel(n_jobs=workers)(jobs)  # in the order of the jobs
    return list(made)


def _brief(problem: str, path: Path) -> str:
    return problem.replace(f"load_mesh: cannot read {path}: ", "").replace(
        f"load_mesh: {path} ", ""
    )


def _notes(config: MeshesConfig, broken: list[str], open_ones: int, count: int) -> tuple[str, ...]:
    notes = []
    if broken:
        more = "" if len(broken) <= SHOWN else f"; and {len(broken) - SHOWN} more"
        notes.append(
            f"{len(broken)} of {count} meshes are broken and left out: {'; '.join(broken[:SHOWN])}{more}"
        )
    if open_ones and config.fill == "solid":
        notes.append(
            f"{open_ones} of {count} meshes are not watertight: where a gap is wider than a voxel their inside is empty"
        )
    return tuple(notes)
