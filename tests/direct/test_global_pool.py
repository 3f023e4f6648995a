"""`direct.global_max_pool` and `direct.global_avg_pool`: one number for each (batch element, channel)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle, oracle_kit
from tests.direct.common import F32, assert_equal, entries, precision, random_input, tensor
from tests.direct.grid import number, parameters, tensor_of
from tests.direct.test_relu import GRID


@jax.jit
def pools(x, g):
    """Both results, and the cotangents of the values for cotangents `g` [B, C] of each."""

    def of_values(values):
        y = x.replace(values=values)
        return direct.global_max_pool(y), direct.global_avg_pool(y)

    (highest, mean), vjp = jax.vjp(of_values, x.values)
    none = jnp.zeros_like(g)
    return highest, mean, vjp((g, none))[0], vjp((none, g))[0]


def check(x, g):
    with precision(x.values.dtype):
        highest, mean, to_highest, to_mean = pools(tensor(x), jax.device_put(g))
    expected, source = oracle_kit.global_max_pool(x)
    assert_equal(highest, expected)
    slots = x.values.shape[-1]
    assert_equal(to_highest, oracle.put_add(g[..., None], source[..., None], slots))
    assert_equal(mean, oracle_kit.global_avg_pool(x))
    assert_equal(to_mean, oracle_kit.global_avg_pool_gradient(x, g))


@pytest.mark.parametrize("case", parameters(GRID))
def test_global_pools_equal_the_oracle(case, rng):
    x = tensor_of(case, rng)
    check(x, number(rng, x.nnz.shape, "integers", case["dtype"]))


@pytest.mark.core
def test_an_empty_channel_gives_zero_and_an_unstored_voxel_takes_no_part():
    x = entries((9,), [[[0, 4], [], [3]], [[], [1, 2, 8], []]], capacity=4)
    x.values[x.values != 0] *= -1
    y = tensor(x)
    assert direct.global_max_pool(y).tolist() == [[-1, 0, -1], [0, -1, 0]]
    assert direct.global_avg_pool(y).tolist() == [[-1.5, 0, -1], [0, -2, 0]]


@pytest.mark.core
def test_ties_and_nan():
    x = entries((5,), [[range(4), range(4)]], [[[1, 7, 7, -0.0], [np.inf, -np.nan, np.nan, 1]]])
    check(x, np.array([[3, 5]], F32))
    _, _, to_highest, _ = pools(tensor(x), jnp.array([[3.0, 5.0]]))
    np.testing.assert_array_equal(to_highest, [[[0, 3, 0, 0], [0, 5, 0, 0]]])


def test_a_long_list_is_summed_without_losing_digits(rng):
    """A single float32 accumulator would be off by 1e-4; the volume plays no part."""
    x = random_input(rng, 1, (1 << 21,), 1, 0.25)
    x = x._replace(values=np.where(x.keys < x.volume, np.float32(1) / 3, 0).astype(F32))
    (mean,) = direct.global_avg_pool(tensor(x))[0]
    assert mean == np.float32(1) / 3
    huge = entries((2**31 - 1,), [[[0, 2**31 - 2]]])
    assert direct.global_avg_pool(tensor(huge)).tolist() == [[1.5]]
    assert direct.global_max_pool(tensor(huge)).tolist() == [[2]]
