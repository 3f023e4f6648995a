"""Sums over lists and whole-list pooling on the GPU: the order of the sums is the CPU's."""

import numpy as np
import pytest

import xla_kernels
from jaxsparse.direct import _kernels
from tests.cuda.common import SLOTS, WHOLE_LIST, assert_like_cpu, lists
from tests.direct.common import DTYPES, F32, F64

KINDS = ("mixed", "full", "corrupt")
LONG = (WHOLE_LIST, WHOLE_LIST + 1, 3 * WHOLE_LIST + 5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", SLOTS)
def test_channel_sum(rng, slots, kind):
    keys, values = lists(rng, 3, 2, slots, 2 * slots, kind=kind)
    values = np.where(np.isfinite(values), values, F32.type(1))
    assert_like_cpu(_kernels.channel_sum, 2 * slots, keys, values, seed=slots)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("slots", [600, LONG[-1]])
def test_sums_and_means_of_every_dtype(rng, slots, dtype):
    keys, values = lists(rng, 2, 2, slots, 2 * slots, dtype, "full")
    values = np.where(np.isfinite(values.astype(np.float64)), values, values.dtype.type(1))
    for kernel in (_kernels.channel_sum, _kernels.global_avg_pool, _kernels.global_max_pool):
        assert_like_cpu(kernel, 2 * slots, keys, values, dtype=dtype)
    assert_like_cpu(_kernels.global_avg_pool_grad, 2 * slots, keys, values[..., 0], dtype=dtype)


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("slots", [1, 300, WHOLE_LIST + 1])
def test_channel_dot_and_affine(rng, slots, dtype):
    keys, a = lists(rng, 3, 2, slots, 2 * slots, dtype)
    a = np.where(np.isfinite(a), a, dtype.type(1))
    b = rng.normal(size=a.shape).astype(dtype)
    shift, scale, offset = rng.normal(size=(3, 2)).astype(dtype)
    dot = _kernels.ChannelDot(2 * slots, dtype.name)
    for operands in ((a, shift, b, scale), (a, None, b, None), (None, None, b, shift)):
        assert_like_cpu(_kernels.channel_dot, dot, keys, *operands, dtype=dtype)
    for operands in (
        (a, shift, scale, offset),
        (a, None, scale, None),
        (None, None, scale, offset),
    ):
        assert_like_cpu(_kernels.channel_affine, 2 * slots, keys, *operands, dtype=dtype)


def test_channel_dot_of_nothing():
    dot = _kernels.ChannelDot(9, "float32")
    empty = np.zeros((3, 2, 5), F32)
    for batch in (0, 3):
        keys = np.full((batch, 2, 5), 9, np.int32)
        assert_like_cpu(_kernels.channel_dot, dot, keys, empty[:batch], None, empty[:batch], None)
        assert_like_cpu(_kernels.channel_sum, 9, keys, empty[:batch])


def test_more_channels_than_threads(rng):
    keys, values = lists(rng, 2, 150, 3, 9)
    assert_like_cpu(_kernels.channel_sum, 9, keys, np.nan_to_num(values, posinf=1, neginf=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("slots", SLOTS)
def test_global_pools(rng, slots, kind):
    keys, values = lists(rng, 2, 3, slots, 2 * slots, kind=kind)
    assert_like_cpu(_kernels.global_max_pool, 2 * slots, keys, values, seed=slots)
    assert_like_cpu(_kernels.global_avg_pool, 2 * slots, keys, values, seed=slots)
    assert_like_cpu(_kernels.global_avg_pool_grad, 2 * slots, keys, values[..., 0], seed=slots)


@pytest.mark.parametrize("slots", [100, LONG[-1]])
def test_the_first_of_equal_maxima_counts(slots):
    """In one segment and across two of them, with both zeros and with NaN."""
    keys = np.arange(slots, dtype=np.int32).reshape(1, 1, -1)
    for at, high in (((70, 90), 5.0), ((3, slots - 1), np.nan), ((slots - 1, slots - 2), np.inf)):
        values = np.where(keys % 2, F32.type(0.0), F32.type(-0.0))
        assert_like_cpu(_kernels.global_max_pool, slots, keys, values)
        values[..., list(at)] = high
        assert_like_cpu(_kernels.global_max_pool, slots, keys, values)


def test_sums_go_on_from_stretch_to_stretch(rng, monkeypatch):
    whole = xla_kernels.cuda_workspace_bytes
    monkeypatch.setattr(
        xla_kernels, "cuda_workspace_bytes", lambda op, batch, **sizes: whole(op, 2, **sizes)
    )
    keys, values = lists(rng, 5, 2, 9000, 20000, kind="full")
    values = np.nan_to_num(values, posinf=1, neginf=1)
    for kernel in (_kernels.channel_sum, _kernels.global_avg_pool, _kernels.global_max_pool):
        assert_like_cpu(kernel, 20000, keys, values)
    assert_like_cpu(_kernels.global_avg_pool_grad, 20000, keys, values[..., 0])
