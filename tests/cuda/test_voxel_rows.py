"""Rows merged and pooled on the GPU: the CPU's bits."""

import numpy as np
import pytest

from jaxsparse.voxel import _kernels, _pool_kernels
from tests.cuda.common import assert_all_like_cpu
from tests.direct.common import DTYPES, F32

SPECIAL = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-42)


def features(rng, rows, channels, dtype=F32):
    x = rng.normal(size=(rows, channels))
    special = rng.random(x.shape) < 0.1
    x[special] = rng.choice(SPECIAL, special.sum())
    return x.astype(dtype)


def groups(rng, rows, number):
    """Rows to groups (some empty, some rows without one), as sort_rows says it."""
    row_of = rng.integers(0, number + 3, rows)
    row_of[row_of > number] = number
    order = np.argsort(row_of, kind="stable")
    starts = np.searchsorted(row_of[order], np.arange(number + 1))
    order[starts[-1] :] = rows
    return (np.asarray(x, np.int32) for x in (order, starts, row_of))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_merging(rng, dtype):
    calls = []
    for rows, number, channels in ((90, 30, 5), (1, 1, 1), (300, 7, 33), (0, 4, 3)):
        x, y = features(rng, rows, channels, dtype), features(rng, number, channels, dtype)
        order, starts, row_of = groups(rng, rows, number)
        winner = rng.integers(-1, rows + 2, y.shape, dtype=np.int32)
        if rows and dtype == F32:  # rows of a list that was never sorted lead nowhere
            order[0], starts[number // 2], row_of[0] = -7, 10**6, -1
        for mean in (False, True):
            calls.append((_kernels.merge_rows, mean, (x, order, starts)))
            calls.append((_kernels.spread_rows, mean, (y, order, starts, row_of)))
        calls.append((_kernels.max_rows, None, (x, order, starts)))
        calls.append((_kernels.pick_rows, None, (x, winner)))
        calls.append((_kernels.place_rows, None, (y, row_of, winner)))
    assert_all_like_cpu(calls, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pooling_over_maps(rng, dtype):
    calls = []
    for rows, outputs, taps, channels in ((80, 40, 9, 5), (1, 1, 1, 1), (50, 300, 3, 33)):
        x, y = features(rng, rows, channels, dtype), features(rng, outputs, channels, dtype)
        map = rng.integers(-2, 2 * rows, (taps, outputs), dtype=np.int32)
        reverse = rng.integers(-2, 2 * outputs, (taps, rows), dtype=np.int32)
        source = rng.integers(0, rows, y.shape, dtype=np.int32)
        for background in (None, x[0]):
            calls.append((_pool_kernels.pool_max, None, (x, map, background)))
        calls.append((_pool_kernels.pool_put, None, (y, source, reverse)))
        calls.append((_pool_kernels.pool_sum, None, (x, map)))
    assert_all_like_cpu(calls, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pooling_over_batch_elements(rng, dtype):
    calls = []
    # A piece has 1024 rows.
    for rows, segments, channels in ((3000, 3, 5), (0, 2, 3), (1, 1, 1), (1024, 1, 2), (40, 60, 3)):
        x = features(rng, rows, channels, dtype)
        segment = np.sort(rng.integers(-1, segments + 1, rows, dtype=np.int32))
        calls.append((_pool_kernels.segment_sum, segments, (x, segment)))
        calls.append((_pool_kernels.segment_max, segments, (x, segment)))
    assert_all_like_cpu(calls, dtype=dtype)
