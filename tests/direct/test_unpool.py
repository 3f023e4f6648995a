"""`direct.unpool`: every entry of the fine tensor with the value of its parent."""

import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle_kit
from tests.direct.common import (
    F32,
    assert_equal,
    assert_same,
    entries,
    random_input,
    tensor,
    with_gradients,
)
from tests.direct.grid import TENSORS, number, parameters, sizes_of, tensor_of
from tests.pairwise import pairwise

GRID = pairwise(
    TENSORS
    | {
        "unpool_strides": (1, 2, (3, 1, 2, 2), 9),
        "coarse": ("sparse", "full"),
    }
)


def unpool(x, onto, strides, g):
    """The fine tensor and the cotangent of the coarse values for cotangents `g`."""
    y, gx, g_onto = with_gradients(lambda x, onto: direct.unpool(x, onto, strides), x, onto, g=g)
    assert not g_onto.any()
    return y, gx


@pytest.mark.parametrize("case", parameters(GRID))
def test_unpool_equals_the_oracle(case, rng):
    onto = tensor_of(case, rng)
    strides = sizes_of(case["unpool_strides"], case["dims"])
    shape = oracle_kit.pooling(onto.spatial_shape, strides)[0].out
    share = {"sparse": 0.5, "full": 1.0}[case["coarse"]]
    x = random_input(rng, *onto.keys.shape[:1], shape, onto.keys.shape[1], share)
    x = x._replace(values=number(rng, x.values.shape, case["values"], case["dtype"]))
    g = number(rng, onto.values.shape, "integers", case["dtype"])
    y, gx = unpool(x, onto, strides, g)
    assert_same(y, oracle_kit.unpool(x, onto, strides))
    assert_equal(gx, oracle_kit.window_sum(onto._replace(values=g), x, strides))


@pytest.mark.core
def test_an_entry_without_a_parent_stays_and_holds_zero():
    onto, x = entries((7,), [[[0, 1, 3, 6]]]), entries((4,), [[[0, 3]]], [[[5, np.nan]]])
    y, gx = unpool(x, onto, 2, np.array([[[1, 2, 4, 8]]], F32))
    assert_same(y, entries((7,), [[[0, 1, 3, 6]]], [[[5, 5, 0, np.nan]]]))
    np.testing.assert_array_equal(gx, [[[3, 8]]])


@pytest.mark.core
def test_it_has_the_counts_and_capacity_of_onto_and_the_dtype_of_x():
    onto = entries((4,), [[[0, 3]]], capacity=2)._replace(nnz=np.array([[9]], np.int32))
    x = entries((2,), [[[0, 1]]], capacity=5, dtype=np.float16)
    y = direct.unpool(tensor(x), tensor(onto), 2)
    assert y.nnz.tolist() == [[9]] and y.capacity == 2 and y.dtype == np.float16


@pytest.mark.core
def test_it_undoes_the_geometry_of_pooling(rng):
    x = tensor(random_input(rng, 2, (9, 6), 3, 0.4))
    y = direct.unpool(direct.avg_pool(x, (2, 3)), x)
    dense = np.asarray(direct.avg_pool(x, (2, 3)).to_dense())
    expected = dense.repeat(2, 1).repeat(3, 2)[:, :9, :6]
    np.testing.assert_array_equal(y.to_dense(), np.where(x.to_dense() != 0, expected, 0))


@pytest.mark.core
def test_strides_left_out_are_the_smallest_between_the_shapes():
    def shapes(fine, coarse):
        return direct.unpool(tensor(entries(coarse, [[[0]]])), tensor(entries(fine, [[range(9)]])))

    for fine, coarse in (((28, 5), (14, 3)), ((7, 8, 1), (4, 8, 1)), ((100,), (1,))):
        assert shapes(fine, coarse).spatial_shape == fine
    assert shapes((10,), (2,)).values.tolist() == [[[1] * 5 + [0] * 4]]
    for fine, coarse in (((13,), (10,)), ((9,), (10,))):
        with pytest.raises(ValueError, match="x must be of spatial shape"):
            shapes(fine, coarse)
