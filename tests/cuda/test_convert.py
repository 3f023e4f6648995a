"""from_dense, to_dense and gather_dense on the GPU."""

import math

import numpy as np
import pytest

import xla_kernels
from jaxsparse.direct import _kernels
from tests.cuda.common import SLOTS, assert_like_cpu, lists
from tests.direct.common import DTYPES, F32

# Around a tile (2048 cells of up to 16 channels), a block of 8 tiles, and warps that are not full.
SHAPES = [
    (2, (1,), 1),
    (1, (2049,), 1),
    (1, (40, 500), 1),  # two blocks a row
    (3, (7, 9), 3),
    (1, (130, 129), 2),
    (2, (9, 10, 11), 4),
    (1, (33, 50), 5),
    (1, (5, 6, 7, 4), 16),
    (1, (400,), 17),
    (2, (31,), 40),
    (0, (5,), 2),
    (2, (5,), 0),
]


def dense(rng, shape, kind, dtype=F32):
    """Sparse or full, with all special values; or few different values, and so many ties."""
    x = rng.normal(size=shape)
    if kind == "ties":
        x = np.round(x * 2) / 2
    elif kind == "sparse":
        x[rng.random(shape) < 0.9] = 0
    else:
        special = rng.random(shape) < 0.1
        x[special] = rng.choice(
            [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42], special.sum()
        )
    return x.astype(dtype)


def capacities(spatial_shape):
    volume = math.prod(spatial_shape)
    return sorted(
        {1, max(1, volume // 20), max(1, volume // 3), max(1, volume - 1), volume, volume + 5}
    )


@pytest.mark.parametrize("kind", ["sparse", "special", "ties"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_from_dense(rng, shape, kind):
    batch, spatial_shape, channels = shape
    x = dense(rng, (batch, *spatial_shape, channels), kind)
    for i, capacity in enumerate(capacities(spatial_shape)):
        assert_like_cpu(_kernels.from_dense, _kernels.Sparsify(capacity, i % 3), x, seed=capacity)


@pytest.mark.parametrize("select", [0, 1, 2])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_from_dense_of_every_dtype_and_rule(rng, dtype, select):
    for kind in ("sparse", "special", "ties"):
        x = dense(rng, (2, 20, 21, 3), kind, dtype)
        for capacity in (1, 100, 419, 420):
            assert_like_cpu(
                _kernels.from_dense, _kernels.Sparsify(capacity, select), x, dtype=dtype
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_bits_of_a_rank_are_told_apart(dtype):
    """Numbers that are neighbours: the threshold is found in the last pass."""
    one = np.ones((1, 1000, 1), dtype)
    steps = np.arange(1000).reshape(one.shape)
    bits = f"u{one.dtype.itemsize}"
    x = (one.view(bits) + np.random.default_rng(1).permutation(steps).astype(bits)).view(dtype)
    for values in (x, -x):
        for capacity in (1, 256, 700, 999):
            assert_like_cpu(
                _kernels.from_dense, _kernels.Sparsify(capacity, 0), values, dtype=dtype
            )


def test_some_lists_are_cut_and_some_are_not(rng):
    x = dense(rng, (3, 50, 60, 18), "ties")
    x[:, :, :, ::3] *= rng.random((3, 50, 60, 6)) < 0.05
    x[1, :, :, 1] = 0
    assert_like_cpu(_kernels.from_dense, _kernels.Sparsify(700, 1), x)


def test_a_batch_in_stretches(rng, monkeypatch):
    whole = xla_kernels.cuda_workspace_bytes
    monkeypatch.setattr(
        xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: whole(op, 2, **sizes)
    )
    x = dense(rng, (5, 30, 40, 2), "ties")
    assert_like_cpu(_kernels.from_dense, _kernels.Sparsify(200, 0), x)
    keys, values = lists(rng, 5, 2, 9000, 20000)
    assert_like_cpu(_kernels.to_dense, (100, 200), keys, values)
    assert_like_cpu(_kernels.gather_dense, None, keys, rng.normal(size=(5, 20000, 2)).astype(F32))


@pytest.mark.parametrize("kind", ["mixed", "full", "corrupt"])
@pytest.mark.parametrize("slots", SLOTS)
def test_to_dense_and_gather_dense(rng, slots, kind):
    keys, values = lists(rng, 2, 3, slots, 2 * slots, kind=kind)
    assert_like_cpu(_kernels.to_dense, (2 * slots,), keys, values, seed=slots)
    x = rng.normal(size=(2, 2, slots, 3)).astype(F32)
    assert_like_cpu(_kernels.gather_dense, None, keys, x, seed=slots)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_to_dense_and_gather_dense_of_every_dtype(rng, dtype):
    keys, values = lists(rng, 2, 5, 50, 6 * 7 * 4, dtype)
    assert_like_cpu(_kernels.to_dense, (6, 7, 4), keys, values, dtype=dtype)
    x = rng.normal(size=(2, 6, 7, 4, 5)).astype(dtype)
    assert_like_cpu(_kernels.gather_dense, None, keys, x, dtype=dtype)


@pytest.mark.parametrize("seed", range(2, 6))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    x = dense(rng, (1, 50, 400, 2), "ties")
    assert_like_cpu(_kernels.from_dense, _kernels.Sparsify(3000, 1), x, seed=seed)
