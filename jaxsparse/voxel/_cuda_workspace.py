"""Bytes of scratch memory that the CUDA kernels of this room need, as expressions: numbers of rows may be symbolic.

The kernels lay it out in ``xla_kernels/src/voxel/*_cuda.h``, and refuse a smaller one.
"""

from typing import Any

TILE = 2048
DIGITS = 256
PIECE = 1024
ALIGNED = 64
SPLIT_ROWS, MOST_SPLITS, MOST_SPLIT_BYTES = 1024, 64, 32 * 2**20


def _arrays(number: int, size: Any) -> Any:
    """Of so many arrays: each begins at a multiple of ``ALIGNED``."""
    return size + (number + 1) * ALIGNED


def list_of_sites(keys: Any, *, with_rows: bool) -> Any:
    """Of ``sort_rows``, and of ``sites`` without rows: ``keys`` numbers are sorted."""
    tiles = (keys + TILE - 1) // TILE
    each = 24 if with_rows else 16
    return _arrays(10, each * keys + 4 * (DIGITS + 1) * tiles + 4 * (DIGITS + 3))


def kernel_map(rows: Any) -> Any:
    """Of ``kernel_map``: the keys of its inputs."""
    return _arrays(3, 8 * rows + 8)


def segments(rows: Any, number: Any, channels: int, itemsize: int) -> Any:
    """Of ``segment_sum`` and ``segment_max``, which keep so many bytes of every piece and channel."""
    pieces = (rows + PIECE - 1) // PIECE + number
    return _arrays(4, 4 * (2 * number + 1) + itemsize * channels * pieces)


def kernel_grad(rows: Any, weights: int, itemsize: int) -> int:
    """Of ``map_conv_kernel_grad`` over so many output rows, for ``weights`` sums of ``itemsize`` bytes."""
    splits = min(MOST_SPLIT_BYTES // (weights * itemsize), MOST_SPLITS)
    if isinstance(rows, int):
        splits = min(splits, -(-rows // SPLIT_ROWS))
    return _arrays(1, splits * weights * itemsize) if splits > 1 else 0
