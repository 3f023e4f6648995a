"""How many sites of each layer of S3DCNN an object makes active: arithmetic on coordinates, no network needed."""

import functools

import numpy as np

from experiments.data.dataset import Dataset
from experiments.data.site_lists import object_sites

HEADROOM = 1.25
"""How much more than the probed objects need there is room for."""
PROBED = 64
"""Objects of each split that are looked at."""


def layer_names(depth: int) -> list[str]:
    """The layers of ``models.S3DCNN.activations``, in order."""
    inner = [f"{kind}{number}" for number in range(1, depth + 1) for kind in ("conv", "pool")]
    return ["input", *inner, f"conv{depth + 1}"]


def layer_sizes(field: int, depth: int) -> list[int]:
    """Their extents, voxels a dimension."""
    sizes = [field]
    for name in layer_names(depth)[1:]:
        size = sizes[-1]
        sizes.append(size - 1 if name.startswith("conv") else (size - 3) // 2 + 1)
    return sizes


def active_sites(coords: np.ndarray, field: int, depth: int) -> list[int]:
    """The number of active sites behind every layer: a site is active if an active one lies in its window.

    Args:
      coords: integers ``[M, d]``, distinct, in a field of ``field`` voxels a dimension.
      field: its extent.
      depth: convolutions (kernel 2, stride 1) that are followed by a pooling (3, 2); then comes one more convolution.

    Returns:
      One number for each of ``layer_names``.
    """
    counts = [len(coords)]
    for name, size in zip(layer_names(depth)[1:], layer_sizes(field, depth)[1:], strict=True):
        kernel, stride = (2, 1) if name.startswith("conv") else (3, 2)
        coords = _reached(np.asarray(coords, np.int64), kernel, stride, size)
        counts.append(len(coords))
    return counts


def _reached(coords: np.ndarray, kernel: int, stride: int, size: int) -> np.ndarray:
    """The windows that hold an active site, one axis after the other."""
    for axis in range(coords.shape[1]):
        parts = []
        for tap in range(kernel):
            start = coords[:, axis] - tap
            inside = (start % stride == 0) & (start >= 0) & (start < size * stride)
            moved = coords[inside].copy()
            moved[:, axis] = start[inside] // stride
            parts.append(moved)
        coords = _distinct(np.concatenate(parts))
    return coords


def _distinct(coords: np.ndarray) -> np.ndarray:
    if not len(coords):
        return coords
    shape = tuple(coords.max(axis=0) + 1)
    keys = np.unique(np.ravel_multi_index(tuple(coords.T), shape))
    return np.stack(np.unravel_index(keys, shape), axis=1)


@functools.lru_cache(maxsize=1)
def probed_sites(dataset: Dataset, depth: int) -> tuple[int, ...]:
    """Room for the sites of an object in each layer: what the fullest of some objects needs, and a quarter more.

    Objects at even spaces in the training set, changed as in its first epoch, and in the test set.
    """
    field, dims = dataset.image_shape[0], len(dataset.image_shape) - 1
    most = np.ones(len(layer_names(depth)), np.int64)
    for split, draw in ((dataset.train, (0, 0)), (dataset.test, None)):
        numbers = np.unique(np.linspace(0, len(split) - 1, PROBED).astype(int))
        for number in numbers.tolist():
            coords, _ = object_sites(split, number, draw)
            most = np.maximum(most, active_sites(coords, field, depth))
    volumes = [size**dims for size in layer_sizes(field, depth)]
    return tuple(
        min(int(np.ceil(HEADROOM * found)), volume)
        for found, volume in zip(most.tolist(), volumes, strict=True)
    )
