"""Pooling and the sums over windows on the GPU."""

import numpy as np
import pytest

from jaxsparse._core.windows import Pooling
from jaxsparse.direct import _kernels
from tests.cuda.common import assert_like_cpu, lists
from tests.direct.common import DTYPES, F32

# Shape, window, strides: disjoint windows, overlapping ones, ones with gaps between them, cut ones, whole volumes.
GEOMETRIES = {
    "1d": ((700,), (3,), (2,)),
    "1d long": ((40000,), (2,), (2,)),
    "2d": ((30, 33), (3, 3), (2, 2)),
    "2d gaps": ((30, 33), (1, 2), (3, 4)),
    "3d": ((8, 9, 10), (2, 2, 2), (2, 2, 2)),
    "3d dense": ((8, 9, 10), (3, 3, 3), (1, 1, 1)),
    "3d uneven": ((8, 9, 10), (5, 1, 3), (2, 1, 4)),
    "3d whole": ((8, 9, 10), (8, 9, 10), (8, 9, 10)),
    "4d": ((5, 6, 4, 7), (2, 3, 2, 2), (2, 1, 2, 3)),
}


def geometry(name: str) -> Pooling:
    shape, window, strides = GEOMETRIES[name]
    out = tuple(-(-n // s) for n, s in zip(shape, strides, strict=True))
    return Pooling(shape, out, window, strides)


def operands(rng, g: Pooling, slots, windows, dtype=F32, kind="mixed"):
    """Fine and coarse lists of six each, and counts."""
    fine = lists(rng, 2, 3, slots, int(np.prod(g.spatial_shape)), dtype, kind)
    coarse = lists(rng, 2, 3, windows, int(np.prod(g.out_shape)), dtype, kind)
    return *fine, *coarse, rng.integers(0, 5, size=coarse[0].shape, dtype=np.int32)


def assert_windows(rng, name, slots=200, windows=90, dtype=F32, kind="mixed", seed=1):
    g = geometry(name)
    fine_keys, fine, coarse_keys, coarse, count = operands(rng, g, slots, windows, dtype, kind)
    for counts in (None, count):
        assert_like_cpu(
            _kernels.window_sum, g, fine_keys, fine, coarse_keys, counts, dtype=dtype, seed=seed
        )
        assert_like_cpu(
            _kernels.window_spread,
            g,
            fine_keys,
            coarse_keys,
            coarse,
            counts,
            dtype=dtype,
            seed=seed,
        )


@pytest.mark.parametrize("kind", ["mixed", "corrupt"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_windows(rng, name, kind):
    assert_windows(rng, name, kind=kind)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_windows_of_every_dtype(rng, dtype):
    assert_windows(rng, "3d", dtype=dtype)


@pytest.mark.parametrize("slots", [1, 255, 256, 257, 1500])
def test_windows_of_lists_of_one_piece_and_of_several(rng, slots):
    assert_windows(rng, "2d", slots, slots // 2 + 1, seed=slots)


@pytest.mark.parametrize("seed", range(2, 5))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    assert_windows(rng, "3d dense", 600, 300, seed=seed)


def test_no_lists(rng):
    g = geometry("2d")
    for shape in ((0, 2, 5), (2, 0, 5)):
        keys, values = np.zeros(shape, np.int32), np.zeros(shape, F32)
        assert_like_cpu(_kernels.window_sum, g, keys, values, keys, None)
        assert_like_cpu(_kernels.window_spread, g, keys, keys, values, None)
