"""relu, take, put_add and masked_scale on the GPU."""

import numpy as np
import pytest

import xla_kernels
from jaxsparse.direct import _kernels
from tests import emulation
from tests.cuda.common import SLOTS, WHOLE_LIST, assert_like_cpu, both, lists
from tests.direct.common import DTYPES, F32

KINDS = ("mixed", "full", "corrupt")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", SLOTS)
def test_relu(rng, slots, kind):
    volume = 3 * slots
    keys, values = lists(rng, 2, 3, slots, volume, kind=kind)
    assert_like_cpu(_kernels.relu, volume, keys, values, seed=slots)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("slots", [600, 9000])
def test_relu_of_every_dtype(rng, slots, dtype):
    keys, values = lists(rng, 1, 2, slots, 2 * slots, dtype)
    assert_like_cpu(_kernels.relu, 2 * slots, keys, values, dtype=dtype)


def test_relu_keeps_nothing_or_all():
    keys = np.arange(20000, dtype=np.int32).reshape(1, 1, -1)
    for value in (-1, 0, 1, np.nan):
        values = np.full(keys.shape, value, F32)
        assert_like_cpu(_kernels.relu, 20000, keys, values)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("slots", SLOTS)
def test_take(rng, slots, dtype):
    _, values = lists(rng, 2, 2, slots, 2 * slots, dtype)
    source = rng.integers(-3, slots + 3, size=(2, 2, 9000), dtype=np.int32)
    assert_like_cpu(_kernels.take, None, values, source, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("targets", [1, 3, 700, 9000])
@pytest.mark.parametrize("slots", [40, 9000])
def test_put_add(rng, slots, targets, dtype):
    """Chains of all lengths: none, a few, and (a few targets for many entries) longer than a thread sorts."""
    _, values = lists(rng, 2, 2, slots, 2 * slots, dtype)
    source = rng.integers(-1, targets + 1, size=values.shape, dtype=np.int32)
    source[0, 0] = np.sort(source[0, 0])
    source[1, 0] = -1
    assert_like_cpu(_kernels.put_add, targets, values, source, seed=targets, dtype=dtype)


@pytest.mark.parametrize("length", [31, 32, 33, 64, 255, 256])
def test_put_add_of_chains_that_are_sorted_in_parts_and_that_are_too_long_for_a_thread(rng, length):
    source = rng.permutation(np.r_[np.full(length, 7), np.full(length + 1, 9), np.full(20, 3)])
    values = rng.normal(size=(1, 1, len(source))).astype(F32)
    assert_like_cpu(_kernels.put_add, 12, values, source.reshape(1, 1, -1).astype(np.int32))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", [31, WHOLE_LIST, WHOLE_LIST + 1])
def test_masked_scale(rng, slots, kind, dtype):
    volume = 2 * slots
    keys, values = lists(rng, 2, 3, slots, volume, dtype, kind)
    mask = rng.random(keys.shape) < 0.5
    wide = np.float64 if values.dtype == np.float64 else np.float32
    for factors in ((2.0, 0.0), (1.0, 0.3)):
        factors = np.array(factors, wide)
        assert_like_cpu(_kernels.masked_scale, volume, keys, values, mask, factors, dtype=dtype)


def test_a_batch_that_the_workspace_does_not_hold_is_worked_off_in_stretches(rng, monkeypatch):
    """Workspaces for one element, for two, and one that is too small for any."""
    slots, volume = 9000, 20000
    keys, values = lists(rng, 5, 2, slots, volume)
    source = rng.integers(-1, 50, size=keys.shape, dtype=np.int32)
    whole = xla_kernels.cuda_workspace_bytes

    for elements in (1, 2):
        monkeypatch.setattr(
            xla_kernels,
            "cuda_workspace_bytes",
            lambda op, batch, n=elements, **sizes: whole(op, n, **sizes),
        )
        assert_like_cpu(_kernels.relu, volume, keys, values)
        assert_like_cpu(_kernels.put_add, 50, values, source)
    monkeypatch.setattr(xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: 64)
    with pytest.raises(Exception, match="direct put_add: the workspace is too small"):
        both(_kernels.put_add, 50, values, source)


def test_empty_batches_and_channels():
    for shape in ((0, 2, 5), (2, 0, 5)):
        keys, values = np.zeros(shape, np.int32), np.zeros(shape, F32)
        assert_like_cpu(_kernels.relu, 9, keys, values)
        assert_like_cpu(_kernels.take, None, values, keys)
        assert_like_cpu(_kernels.put_add, 4, values, keys)


@pytest.mark.parametrize("seed", range(2, 7))
def test_no_order_of_warps_and_blocks_changes_a_bit(rng, seed):
    keys, values = lists(rng, 1, 3, 10000, 30000)
    source = rng.integers(-1, 100, size=keys.shape, dtype=np.int32)
    assert_like_cpu(_kernels.relu, 30000, keys, values, seed=seed)
    assert_like_cpu(_kernels.put_add, 100, values, source, seed=seed)


def test_what_is_emulated_is_what_the_cuda_module_has():
    names = {xla_kernels.PREFIX + op for op in emulation.OPERATIONS}
    assert names == set(filter(xla_kernels.has_cuda_kernel, xla_kernels.targets()))
    assert set(emulation.OPERATIONS) >= {"direct_relu", "direct_take", "block_gather"}
