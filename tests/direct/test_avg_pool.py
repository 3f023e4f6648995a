"""`direct.avg_pool`: the mean over the stored entries of a window, and its gradient to each of them."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle, oracle_kit
from tests.direct.common import (
    F32,
    assert_equal,
    assert_same,
    entries,
    random_input,
    tensor,
    with_gradients,
)
from tests.direct.grid import capacity_of, number, parameters, sizes_of, tensor_of
from tests.direct.test_max_pool import GRID


def avg_pool(x, window, strides=None, capacity=None, g=None):
    """The pooled tensor and the cotangent of the values for cotangents `g`."""
    return with_gradients(lambda x: direct.avg_pool(x, window, strides, capacity=capacity), x, g=g)


def expected_gradient(x, y, count, g, window, strides):
    return oracle_kit.window_spread(x, y._replace(values=g), window, strides, count)


@pytest.mark.parametrize("case", parameters(GRID))
def test_avg_pool_equals_the_oracle(case, rng):
    x = tensor_of(case, rng)
    window, strides = (sizes_of(case[name], case["dims"]) for name in ("window", "pool_strides"))
    volume = int(np.prod(oracle_kit.pooling(x.spatial_shape, window, strides)[0].out))
    capacity = capacity_of(case["pool_capacity"], volume)
    expected, count = oracle_kit.avg_pool(x, window, strides, capacity)
    g = number(rng, expected.values.shape, "integers", case["dtype"])
    y, gx = avg_pool(x, window, strides, capacity, g)
    assert_same(y, expected)
    assert_equal(gx, expected_gradient(x, expected, count, g, window, strides))


@pytest.mark.core
def test_it_divides_by_the_number_of_stored_entries():
    x = entries((9,), [[[0, 2, 4, 8]]], [[[-3, 5, 7, 0]]])
    y, gx = avg_pool(x, 3, g=np.array([[[6, 2, 8, 0]]], F32))
    assert_same(y, entries((3,), [[[0, 1, 2]]], [[[1, 7, 0]]], capacity=4))
    np.testing.assert_array_equal(gx, [[[3, 3, 2, 8]]])


@pytest.mark.core
def test_a_mean_of_zero_is_an_entry_and_what_does_not_fit_is_cut_by_value():
    x = entries((8,), [[[0, 1, 2, 3, 4, 6]]], [[[-4, 4, -9, -8, 3, 3]]])
    y, gx = avg_pool(x, 2, capacity=3, g=np.ones((1, 1, 3), F32))
    cut = entries((4,), [[[0, 2, 3]]], [[[0, 3, 3]]])._replace(nnz=np.array([[4]], np.int32))
    assert_same(y, cut)
    np.testing.assert_array_equal(gx, [[[0.5, 0.5, 0, 0, 1, 1]]])
    y, _ = avg_pool(x, 2, capacity=2)
    assert y.keys.tolist() == [[[2, 3]]]


@pytest.mark.core
def test_nan_and_inf_pass_through():
    x = entries((6,), [[range(6)]], [[[np.inf, 1, np.nan, 1, np.inf, -np.inf]]])
    assert_same(avg_pool(x, 2)[0], entries((3,), [[range(3)]], [[[np.inf, np.nan, np.nan]]], 6))


@pytest.mark.core
def test_an_entry_gets_its_share_of_every_window_that_holds_it():
    x = entries((5,), [[[2, 3]]])
    y, gx = avg_pool(x, 3, 1, capacity=5, g=np.array([[[1, 2, 4, 8, 0]]], F32))
    assert_same(y, entries((5,), [[[0, 1, 2, 3]]], [[[1, 1.5, 1.5, 2]]], capacity=5))
    np.testing.assert_array_equal(gx, [[[1 + 1 + 2, 1 + 2 + 8]]])


def test_where_everything_is_stored_it_is_the_dense_mean(rng):
    dense = rng.integers(1, 9, (2, 8, 6, 4, 3)).astype(F32)
    y = direct.avg_pool(direct.SparseTensor.from_dense(jnp.asarray(dense)), 2)
    expected = dense.reshape(2, 4, 2, 3, 2, 2, 2, 3).mean((2, 4, 6))
    np.testing.assert_array_equal(y.to_dense(), expected)


@pytest.mark.parametrize("spatial", [(100_003,), (301, 407), (41, 53, 47)], ids=str)
def test_large_inputs(spatial, rng):
    x = random_input(rng, 1, spatial, 2, 0.05)
    for window, strides in ((2, None), (3, 2)):
        capacity = int(np.prod(spatial)) // 30
        expected, count = oracle_kit.avg_pool(x, window, strides, capacity)
        g = rng.integers(-9, 10, expected.values.shape).astype(F32)
        y, gx = avg_pool(x, window, strides, capacity, g)
        assert_same(y, expected)
        assert_equal(gx, expected_gradient(x, expected, count, g, window, strides))


def test_a_window_over_a_large_volume_needs_no_tap_for_each_voxel():
    """What of a window lies outside is left out of it: 2^31 - 1 is as good as the size."""
    x = tensor(entries((40, 3), [[[5, 50, 119]]]))
    y = direct.avg_pool(x, (2**31 - 1, 2), (2**31 - 1, 2))
    assert_same(y, oracle_kit.avg_pool(entries((40, 3), [[[5, 50, 119]]]), (40, 2), (40, 2))[0])
    assert oracle.stored(np.asarray(y.keys)[0, 0], 2) == 1
