"""`direct.add` and `direct.concat`: lists brought together."""

import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle, oracle_kit
from tests.direct.common import (
    DTYPES,
    F16,
    F32,
    assert_equal,
    assert_same,
    entries,
    precision,
    random_input,
    tensor,
    with_gradients,
)
from tests.direct.grid import TENSORS, capacity_of, number, parameters, tensor_of
from tests.pairwise import pairwise

GRID = pairwise(
    TENSORS
    | {
        "other": ("empty", "one", "sparse", "full", "itself"),
        "sum_capacity": (1, "cut", "volume", "above", "default"),
    }
)


def add(x, y, capacity=None, g=None):
    """The sum, and the cotangents of both tensors' values for cotangents `g`."""
    return with_gradients(lambda x, y: direct.add(x, y, capacity), x, y, g=g)


@pytest.mark.parametrize("case", parameters(GRID))
def test_add_equals_the_oracle(case, rng):
    x = tensor_of(case, rng)
    y = x if case["other"] == "itself" else tensor_of(case | {"input": case["other"]}, rng)
    capacity = capacity_of(case["sum_capacity"], x.volume)
    expected, *sources = oracle_kit.add(x, y, capacity)
    g = number(rng, expected.values.shape, "integers", case["dtype"])
    z, *gradients = add(x, y, capacity, g)
    assert_same(z, expected)
    for part, source, gradient in zip((x, y), sources, gradients, strict=True):
        assert_equal(gradient, oracle.put_add(g, source, part.keys.shape[-1]))


@pytest.mark.core
def test_a_sum_of_zero_is_an_entry_and_a_single_entry_is_copied():
    x = entries((9,), [[[0, 3, 5, 7]]], [[[-2, 1e-45, np.nan, -0.0]]])
    y = entries((9,), [[[0, 4, 5]]], [[[2, -np.inf, 1]]])
    z, gx, gy = add(x, y, g=np.arange(1, 8, dtype=F32)[None, None])
    expected = entries((9,), [[[0, 3, 4, 5, 7]]], [[[0, 1e-45, -np.inf, np.nan, 0]]], capacity=7)
    assert_same(z, expected)
    assert np.signbit(z.values[0, 0, 4])
    np.testing.assert_array_equal(gx, [[[1, 2, 4, 5]]])
    np.testing.assert_array_equal(gy, [[[1, 3, 4]]])


@pytest.mark.core
def test_what_does_not_fit_is_cut_by_the_magnitude_of_the_sum_and_counted():
    x = entries((9,), [[[0, 2, 4]]], [[[8, -7, 3]]])
    y = entries((9,), [[[0, 2, 6, 8]]], [[[-7, -1, -3, 3]]])
    z, gx, gy = add(x, y, 3, np.array([[[1, 2, 4]]], F32))
    cut = entries((9,), [[[2, 4, 6]]], [[[-8, 3, -3]]])
    assert_same(z, cut._replace(nnz=np.array([[5]], np.int32)))
    np.testing.assert_array_equal(gx, [[[0, 1, 2]]])
    np.testing.assert_array_equal(gy, [[[0, 1, 4, 0]]])


@pytest.mark.core
def test_the_sum_is_rounded_once_after_the_cut():
    """2048 + 1 is 2049 in the accumulator and 2048 in float16: the accumulator decides."""
    x = entries((3,), [[[0, 1]]], [[[2048, 2048]]], dtype=F16)
    y = entries((3,), [[[1]]], [[[1]]], dtype=F16)
    assert_same(
        add(x, y, 1)[0],
        entries((3,), [[[1]]], [[[2048]]], dtype=F16)._replace(nnz=np.array([[2]], np.int32)),
    )


def test_the_default_capacity_is_the_sum_of_both(rng):
    x, y = random_input(rng, 1, (5,), 2, 1.0, capacity=5), random_input(rng, 1, (5,), 2, 0.5)
    assert add(x, y)[0].capacity == 5 + y.keys.shape[-1]


def test_large_sums(rng):
    x, y = (random_input(rng, 2, (300, 401), 2, 0.2) for _ in range(2))
    for capacity in (30_000, 60_000):
        g = rng.integers(-9, 10, (2, 2, capacity)).astype(F32)
        expected, *sources = oracle_kit.add(x, y, capacity)
        z, *gradients = add(x, y, capacity, g)
        assert_same(z, expected)
        for part, source, gradient in zip((x, y), sources, gradients, strict=True):
            assert_equal(gradient, oracle.put_add(g, source, part.keys.shape[-1]))


# ---- concat --------------------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("dims, dtype", list(zip((1, 2, 3, 4), DTYPES, strict=True)), ids=str)
def test_concat_equals_the_oracle(dims, dtype, rng):
    spatial = (5, 3, 2, 4)[:dims]
    parts = []
    for channels, density, capacity in (
        (1, 0.3, None),
        (17, 1.0, None),
        (3, 0.0, 7),
        (2, 0.5, 300),
    ):
        x = random_input(rng, 2, spatial, channels, density, capacity=capacity)
        values = number(rng, x.values.shape, "non-finite", dtype)
        values[::2] = number(rng, x.values.shape, "subnormal", dtype)[::2]
        unused = x.keys == x.volume
        parts.append(x._replace(values=np.where(unused, np.zeros((), dtype), values)))
    parts[1] = parts[1]._replace(nnz=parts[1].nnz + 5)
    g = number(rng, (2, 23, 300), "integers", dtype)
    y, *gradients = with_gradients(lambda *xs: direct.concat(xs), *parts, g=g)
    with precision(dtype):
        assert_same(direct.concat([tensor(parts[0])]), parts[0])
    assert_same(y, oracle_kit.concat(parts))
    start = 0
    for x, gradient in zip(parts, gradients, strict=True):
        of_part = g[:, start : start + x.nnz.shape[1], : x.keys.shape[-1]]
        assert_equal(gradient, np.where(x.keys < x.volume, of_part, np.zeros((), dtype)))
        start += x.nnz.shape[1]


def test_concat_is_the_dense_one(rng):
    xs = [tensor(random_input(rng, 2, (4, 5), c, 0.4)) for c in (2, 3)]
    dense = np.concatenate([x.to_dense() for x in xs], -1)
    np.testing.assert_array_equal(direct.concat(xs).to_dense(), dense)
