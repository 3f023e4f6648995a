"""`direct.relu`: the positive entries, and nothing else, stay stored."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle
from tests.direct.common import F32, assert_equal, assert_same, entries, with_gradients
from tests.direct.grid import TENSORS, number, parameters, tensor_of
from tests.pairwise import pairwise

GRID = pairwise(TENSORS)


def relu(x, g):
    return with_gradients(direct.relu, x, g=g)


@pytest.mark.parametrize("case", parameters(GRID))
def test_relu_equals_the_oracle(case, rng):
    x = tensor_of(case, rng)
    expected, source = oracle.relu(x)
    g = number(rng, x.values.shape, "integers", case["dtype"])
    y, gx = relu(x, g)
    assert_same(y, expected)
    assert_equal(gx, oracle.put_add(g, source, x.keys.shape[-1]))


@pytest.mark.core
def test_zeros_of_either_sign_go_and_nan_of_either_sign_stays():
    values = [0.0, -0.0, 1e-45, -1e-45, np.nan, -np.nan, np.inf, -np.inf]
    y, gx = relu(entries((8,), [[range(8)]], [[values]]), np.arange(1, 9, dtype=F32)[None, None])
    assert_same(y, entries((8,), [[[2, 4, 5, 6]]], [[[1e-45, np.nan, np.nan, np.inf]]], capacity=8))
    np.testing.assert_array_equal(gx, [[[0, 0, 1, 0, 2, 3, 4, 0]]])


@pytest.mark.core
def test_it_is_the_dense_relu(rng):
    dense = rng.normal(size=(3, 5, 4, 2)).astype(F32)
    y = direct.relu(direct.SparseTensor.from_dense(jnp.asarray(dense)))
    np.testing.assert_array_equal(y.to_dense(), np.maximum(dense, 0))
    np.testing.assert_array_equal(y.nnz, (dense > 0).sum((1, 2)))
