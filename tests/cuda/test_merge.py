"""The sum of two tensors on the GPU."""

import numpy as np
import pytest

import xla_kernels
from jaxsparse.direct import _kernels
from tests.cuda.common import WHOLE_LIST, assert_like_cpu, lists
from tests.direct.common import DTYPES, F32


def operands(rng, batch, channels, x_slots, y_slots, volume, dtype=F32, kind="mixed"):
    """Two tensors; lists of the first are full, empty and shorter in another order than those of the second."""
    x = lists(rng, batch, channels, x_slots, volume, dtype, kind)
    y = lists(rng, batch, channels, y_slots, volume, dtype, kind)
    return *x, *(part[:, ::-1].copy() for part in y)


@pytest.mark.parametrize("kind", ["mixed", "full", "corrupt"])
@pytest.mark.parametrize(
    ("x_slots", "y_slots", "volume"),
    [
        (1, 1, 3),
        (40, 3, 60),
        (300, 500, 400),
        (WHOLE_LIST, WHOLE_LIST + 1, 20000),
        (WHOLE_LIST + 1, 700, 9000),
        (9000, 10300, 12000),
    ],
)
def test_add(rng, x_slots, y_slots, volume, kind):
    x_slots, y_slots = min(x_slots, volume), min(y_slots, volume)
    tensors = operands(rng, 2, 3, x_slots, y_slots, volume, kind=kind)
    both = x_slots + y_slots
    for capacity in {both, volume, max(1, both // 3), 1}:
        add = _kernels.Add(volume, capacity)
        assert_like_cpu(_kernels.add, add, *tensors, seed=capacity)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_add_of_every_dtype(rng, dtype):
    tensors = operands(rng, 2, 2, 300, 200, 600, dtype)
    for capacity in (500, 120):
        assert_like_cpu(_kernels.add, _kernels.Add(600, capacity), *tensors, dtype=dtype)


def test_ties_keep_the_lower_keys(rng):
    """Few values, so that most of them tie, in lists of several chunks; and sums that cancel stay entries."""
    keys, values, other_keys, others = operands(rng, 1, 3, 9000, 9000, 12000, kind="full")
    values = np.sign(values) + (values == 0)
    others = np.sign(others)
    values, others = (np.nan_to_num(v).astype(F32) for v in (values, others))
    for capacity in (100, 5000, 11000):
        add = _kernels.Add(12000, capacity)
        assert_like_cpu(_kernels.add, add, keys, values, other_keys, others, seed=capacity)


def test_same_and_disjoint_keys(rng):
    keys = np.arange(0, 9000, dtype=np.int32).reshape(1, 1, -1)
    values, others = rng.normal(size=(2, *keys.shape)).astype(F32)
    for other_keys in (keys, keys + 9000, keys * 2 + 1):
        for capacity in (18000, 9000):
            add = _kernels.Add(20000, capacity)
            assert_like_cpu(_kernels.add, add, keys, values, other_keys, others)


def test_a_batch_in_stretches(rng, monkeypatch):
    whole = xla_kernels.cuda_workspace_bytes
    monkeypatch.setattr(
        xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: whole(op, 2, **sizes)
    )
    tensors = operands(rng, 5, 2, 300, 200, 600)
    for capacity in (500, 120):
        assert_like_cpu(_kernels.add, _kernels.Add(600, capacity), *tensors)


@pytest.mark.parametrize("seed", range(2, 6))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    tensors = operands(rng, 1, 3, 9000, 9000, 12000)
    assert_like_cpu(_kernels.add, _kernels.Add(12000, 4000), *tensors, seed=seed)
