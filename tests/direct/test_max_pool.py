"""`direct.max_pool`: the maximum over the stored entries of a window, its gradient to the lowest-key maximum."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle
from tests.direct.common import (
    F32,
    assert_equal,
    assert_same,
    entries,
    random_input,
    with_gradients,
)
from tests.direct.grid import TENSORS, capacity_of, number, parameters, sizes_of, tensor_of
from tests.pairwise import pairwise

GRID = pairwise(
    TENSORS
    | {
        "window": (1, 2, 3, (2, 1, 3, 2), 9),
        "pool_strides": (None, 1, 2, (1, 3, 2, 2)),
        "pool_capacity": (1, "cut", "volume", "above", "default"),
    }
)


def max_pool(x, window, strides=None, capacity=None, g=None):
    """The pooled tensor and the cotangent of the values for cotangents `g`."""
    return with_gradients(lambda x: direct.max_pool(x, window, strides, capacity=capacity), x, g=g)


@pytest.mark.parametrize("case", parameters(GRID))
def test_max_pool_equals_the_oracle(case, rng):
    x = tensor_of(case, rng)
    window, strides = (sizes_of(case[name], case["dims"]) for name in ("window", "pool_strides"))
    whole, _ = oracle.max_pool(x, window, strides, capacity=1)
    capacity = capacity_of(case["pool_capacity"], whole.volume)
    if capacity is None and strides is not None:  # the input's, made explicit where windows overlap
        capacity = x.keys.shape[-1]
    expected, source = oracle.max_pool(x, window, strides, capacity)
    g = number(rng, expected.values.shape, "integers", case["dtype"])
    y, gx = max_pool(x, window, strides, capacity, g)
    assert_same(y, expected)
    assert_equal(gx, oracle.put_add(g, source, x.keys.shape[-1]))


@pytest.mark.core
def test_an_unstored_voxel_takes_no_part():
    x = entries((9,), [[[0, 3, 4, 8]]], [[[-3, -2, -1, 0]]])
    y, _ = max_pool(x, 3)
    assert_same(y, entries((3,), [[[0, 1, 2]]], [[[-3, -1, 0]]], capacity=4))


@pytest.mark.core
def test_windows_are_cut_at_the_end_and_strides_may_leave_holes():
    x = entries((5, 7), [[range(35)]])
    y, _ = max_pool(x, 2)
    assert y.spatial_shape == (3, 4)
    np.testing.assert_array_equal(
        y.to_dense()[0, :, :, 0], [[9, 11, 13, 14], [23, 25, 27, 28], [30, 32, 34, 35]]
    )
    y, _ = max_pool(x, (1, 2), (2, 3))  # voxels 2 and 5 of each row lie in no window
    np.testing.assert_array_equal(y.to_dense()[0, :, :, 0], [[2, 5, 7], [16, 19, 21], [30, 33, 35]])


@pytest.mark.core
def test_the_gradient_goes_to_the_lowest_key_of_equal_maxima():
    x = entries((6,), [[range(6)]], [[[2, 5, 5, -0.0, 0.0, -1]]])
    y, gx = max_pool(x, 3, g=np.array([[[1, 2, 7, 7, 7, 7]]], F32))
    assert_same(y, entries((2,), [[[0, 1]]], [[[5, 0]]], capacity=6))
    np.testing.assert_array_equal(gx, [[[0, 1, 0, 2, 0, 0]]])


@pytest.mark.core
def test_nan_is_the_maximum_and_the_first_nan_has_the_gradient():
    x = entries((4,), [[range(4)]], [[[np.inf, -np.nan, np.nan, 1]]])
    y, gx = max_pool(x, 4, g=np.array([[[3, 7, 7, 7]]], F32))
    assert_same(y, entries((1,), [[[0]]], [[[np.nan]]], capacity=4))
    np.testing.assert_array_equal(gx, [[[0, 3, 0, 0]]])


@pytest.mark.core
def test_an_entry_gets_the_cotangents_of_every_window_it_wins():
    x = entries((5,), [[[2]]])
    y, gx = max_pool(x, 3, 1, capacity=5, g=np.array([[[1, 2, 4, 8, 16]]], F32))
    np.testing.assert_array_equal(y.keys, [[[0, 1, 2, 5, 5]]])
    np.testing.assert_array_equal(gx, [[[7]]])


@pytest.mark.core
def test_what_does_not_fit_is_cut_by_value_and_counted():
    x = entries((8,), [[[0, 2, 4, 6]]], [[[-9, 3, 4, 3]]])
    y, _ = max_pool(x, 2, capacity=2)
    assert_same(y, entries((4,), [[[1, 2]]], [[[3, 4]]])._replace(nnz=np.array([[4]], np.int32)))


def test_default_capacity_is_the_inputs(rng):
    x = random_input(rng, 2, (8, 8), 3, 0.3, capacity=41)
    assert max_pool(x, 2)[0].keys.shape == (2, 3, 41)
    # Where windows overlap it can be too small: the largest values stay, nnz counts all.
    y, _ = max_pool(entries((20,), [[[0, 5, 9]]]), 4, 1)
    assert y.keys.tolist() == [[[6, 7, 8]]]
    assert y.values.tolist() == [[[3, 3, 3]]]
    assert y.nnz.tolist() == [[9]]


def test_after_relu_it_is_the_dense_result(rng):
    dense = np.maximum(rng.normal(size=(2, 9, 8, 7, 3)), 0).astype(F32)
    y = direct.max_pool(direct.SparseTensor.from_dense(jnp.asarray(dense)), 2)
    padded = np.pad(dense, ((0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
    expected = padded.reshape(2, 5, 2, 4, 2, 4, 2, 3).max((2, 4, 6))
    np.testing.assert_array_equal(y.to_dense(), expected)


@pytest.mark.parametrize("spatial", [(100_003,), (301, 407), (41, 53, 47)], ids=str)
def test_large_inputs(spatial, rng):
    x = random_input(rng, 2, spatial, 3, 0.05)
    for window, strides in ((2, None), (3, 2)):
        capacity = int(np.prod(spatial)) // 30
        expected, source = oracle.max_pool(x, window, strides, capacity)
        g = rng.integers(-9, 10, expected.values.shape).astype(F32)
        y, gx = max_pool(x, window, strides, capacity, g)
        assert_same(y, expected)
        assert_equal(gx, oracle.put_add(g, source, x.keys.shape[-1]))


@pytest.mark.parametrize(
    ("spatial", "window"),
    [((128, 128, 128), 128), ((128, 129, 64), (2**31 - 1, 3, 64)), ((2**20,), (2**20,))],
    ids=str,
)
def test_windows_as_large_as_the_volume(spatial, window, rng):
    x = random_input(rng, 2, spatial, 2, 1000 / np.prod(spatial))
    size = [min(n, w) for n, w in zip(spatial, np.broadcast_to(window, len(spatial)), strict=True)]
    y, gx = max_pool(x, window, capacity=50, g=np.ones((2, 2, 50), F32))
    for b, c in np.ndindex(2, 2):
        n = x.nnz[b, c]
        values = x.values[b, c, :n]
        voxel = np.stack(np.unravel_index(x.keys[b, c, :n], spatial))
        out = np.ravel_multi_index(voxel // np.reshape(size, (-1, 1)), y.spatial_shape)
        order = np.lexsort((np.arange(n), -values, out))  # each window's largest first, then keys
        won = order[np.unique(out[order], return_index=True)[1]]
        found = int(y.nnz[b, c])
        assert y.keys[b, c, :found].tolist() == out[won].tolist()
        assert y.values[b, c, :found].tolist() == values[won].tolist()
        np.testing.assert_array_equal(np.flatnonzero(gx[b, c]), np.sort(won))
