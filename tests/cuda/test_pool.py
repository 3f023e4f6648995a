"""Pooling and the sums over windows on the GPU."""

import numpy as np
import pytest

import xla_kernels
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


def operands(rng, g: Pooling, slots, windows, dtype=F32, kind="mixed", channels=3):
    """Fine and coarse lists, and counts."""
    fine = lists(rng, 2, channels, slots, int(np.prod(g.spatial_shape)), dtype, kind)
    coarse = lists(rng, 2, channels, windows, int(np.prod(g.out_shape)), dtype, kind)
    return *fine, *coarse, rng.integers(0, 5, size=coarse[0].shape, dtype=np.int32)


def assert_windows(rng, name, slots=200, windows=90, dtype=F32, kind="mixed", seed=1, channels=3):
    g = geometry(name)
    fine_keys, fine, coarse_keys, coarse, count = operands(
        rng, g, slots, windows, dtype, kind, channels
    )
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


def assert_pools(rng, name, capacity, slots=200, dtype=F32, kind="mixed", seed=1, round_to=None):
    g = geometry(name)
    keys, values = lists(rng, 2, 3, slots, int(np.prod(g.spatial_shape)), dtype, kind)
    if round_to is not None:
        values = np.where(np.isfinite(values), np.round(values, round_to), values).astype(dtype)
    for kernel in (_kernels.max_pool, _kernels.avg_pool):
        static = _kernels.Pool(g, capacity)
        assert_like_cpu(kernel, static, keys, values, dtype=dtype, seed=seed)


@pytest.mark.parametrize("kind", ["mixed", "corrupt"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_pools(rng, name, kind):
    """All windows fit, or some lists have too many."""
    for capacity in (1000, 37, 1):
        assert_pools(rng, name, capacity, kind=kind)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pools_of_every_dtype(rng, dtype):
    for capacity in (400, 60):
        assert_pools(rng, "3d", capacity, dtype=dtype)


@pytest.mark.parametrize("capacity", [500, 3000, 20000])
def test_pools_of_several_tiles(rng, capacity):
    """Of 20000 outputs: some tiles have no window."""
    assert_pools(rng, "1d long", capacity, 4000)


@pytest.mark.parametrize("dtype", [F32, DTYPES[1]], ids=str)
@pytest.mark.parametrize("capacity", [2, 50, 700])
def test_of_equal_windows_those_of_the_lowest_keys_stay(rng, capacity, dtype):
    """Few values, so that ties are many and spread over tiles."""
    assert_pools(rng, "1d long", capacity, 2000, dtype=dtype, round_to=0)
    assert_pools(rng, "3d dense", capacity, 100, dtype=dtype, round_to=0)


@pytest.mark.parametrize("seed", range(2, 5))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    assert_pools(rng, "3d dense", 50, seed=seed, round_to=0)
    assert_pools(rng, "1d long", 500, 3000, seed=seed)
    assert_windows(rng, "3d dense", 600, 300, seed=seed)


def test_no_lists(rng):
    g = geometry("2d")
    for shape in ((0, 2, 5), (2, 0, 5)):
        keys, values = np.zeros(shape, np.int32), np.zeros(shape, F32)
        assert_like_cpu(_kernels.max_pool, _kernels.Pool(g, 3), keys, values)
        assert_like_cpu(_kernels.avg_pool, _kernels.Pool(g, 50), keys, values)
        assert_like_cpu(_kernels.window_sum, g, keys, values, keys, None)
        assert_like_cpu(_kernels.window_spread, g, keys, keys, values, None)


def test_a_batch_that_the_workspace_does_not_hold_is_worked_off_in_stretches(rng, monkeypatch):
    size = xla_kernels.cuda_workspace_bytes
    monkeypatch.setattr(
        xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: size(op, 1, **sizes)
    )
    assert_pools(rng, "3d dense", 50)
    assert_windows(rng, "2d", 400, 300, channels=20)
