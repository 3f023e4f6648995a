"""Inputs with a batch: the points of the CPU's benchmark, every batch element another mirror image."""

import functools

import jax
import numpy as np

from experiments.benchmark.cases import entry_keys
from jaxsparse import direct


@functools.lru_cache(maxsize=4)
def batch_keys(
    points: str, resolution: int, channels: int, batch: int, seed: int = 0
) -> np.ndarray:
    """Int32 ``[batch, channels, resolution^2]``, ascending.

    Element ``b`` is the first one, mirrored along the axes that the bits of ``b`` name; from 8 on they repeat.
    """
    first = entry_keys(points, resolution, channels, seed)  # pyright: ignore[reportArgumentType]
    axes = np.unravel_index(first, (resolution,) * 3)
    images = []
    for element in range(min(batch, 8)):
        mirrored = [
            resolution - 1 - axis if element >> bit & 1 else axis for bit, axis in enumerate(axes)
        ]
        keys = np.ravel_multi_index(tuple(mirrored), (resolution,) * 3)
        images.append(np.sort(keys, axis=-1).astype(np.int32))
    result = np.stack([images[element % 8] for element in range(batch)])
    result.flags.writeable = False  # it is remembered
    return result


def batch_input(points: str, resolution: int, channels: int, batch: int) -> direct.SparseTensor:
    """Normally distributed values at these points."""
    keys = batch_keys(points, resolution, channels, batch)
    values = np.random.default_rng(1).normal(size=keys.shape).astype(np.float32)
    nnz = np.full(keys.shape[:2], keys.shape[-1], np.int32)
    arrays = (jax.device_put(x, may_alias=False) for x in (keys, values, nnz))
    return direct.SparseTensor(*arrays, spatial_shape=(resolution,) * 3)


def kernel_values(channels: tuple[int, int]) -> np.ndarray:
    """Normally distributed weights ``[3, 3, 3, in, out]``, the same for every contestant."""
    return np.random.default_rng(2).normal(size=(3, 3, 3, *channels)).astype(np.float32)
