"""Taps that meet nothing but padding: they cost nothing and change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle
from tests.direct.common import F32, assert_same, random_input, tensor

CASES = [
    ((7,), (3,), {"kernel_dilation": 7}),
    ((7,), (3,), {"kernel_dilation": 6}),
    ((4, 5), (3, 5), {"kernel_dilation": (2, 3)}),
    ((4, 5), (3, 2), {"kernel_dilation": 9, "strides": (1, 2)}),
    ((4, 5), (3, 3), {"padding": ((6, 1), (0, 9)), "strides": (2, 3)}),
    ((4, 5), (2, 2), {"padding": ((9, -4), (1, 1))}),  # no tap meets anything
    ((3, 4, 2), (3, 1, 5), {"kernel_dilation": (4, 1, 1)}),
]


@pytest.mark.parametrize("spatial_shape, window, static", CASES)
@pytest.mark.parametrize("masked", [False, True])
def test_responses_are_the_oracles(spatial_shape, window, static, masked, rng):
    x = random_input(rng, 2, spatial_shape, 2, 0.5)
    kernel = rng.integers(-3, 4, (*window, 2, 3)).astype(F32)
    mask = rng.random(kernel.shape) < 0.5 if masked else None
    x = x._replace(values=np.round(x.values * 4))
    expected = oracle.conv(x, kernel, None, mask=mask, capacity=9, **static)
    actual = direct.conv(tensor(x), jnp.asarray(kernel), mask=mask, capacity=9, **static)
    assert_same(actual, expected)


def test_their_weights_have_gradient_zero(rng):
    x = tensor(random_input(rng, 1, (4, 5), 1, 0.5))

    def total(kernel):
        return direct.conv(x, kernel, kernel_dilation=4, capacity=20).values.sum()

    gradient = np.asarray(jax.grad(total)(jnp.ones((3, 3, 1, 2), F32)))
    assert gradient.shape == (3, 3, 1, 2)
    # of dimension 0 (4 voxels) the middle tap alone meets the input, of dimension 1 (5 voxels) all do
    assert not gradient[[0, 2]].any() and gradient[1].all()


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_a_huge_dilation_needs_no_more_memory_than_none(dims):
    x = direct.SparseTensor.from_dense(jnp.ones((1, *(9,) * dims, 1), F32))
    kernel = jnp.ones((*(3,) * dims, 1, 1), F32)
    huge = direct.conv_workspace(x, kernel, capacity=9, kernel_dilation=10**6)
    single = direct.conv_workspace(x, kernel[(slice(1),) * dims], capacity=9)
    assert huge == single


def test_the_default_capacity_counts_every_tap():
    x = direct.SparseTensor.from_dense(jnp.zeros((1, 9, 1), F32), capacity=2)
    assert direct.conv(x, jnp.ones((3, 1, 1), F32), kernel_dilation=9).capacity == 2 * 3


@pytest.mark.parametrize(
    "window, strides, message",
    [
        (
            (2**13, 2**12),
            1,
            r"conv: kernel must be of at most 16777216 taps .*, got \(8192, 4096\)",
        ),
        ((1100, 1100), 1100, r"conv: strides must be of a product of at most 1048576 .*, got"),
    ],
)
def test_limits_name_the_argument(window, strides, message):
    x = direct.SparseTensor.from_dense(jnp.zeros((1, 2**13, 2**12, 1), jnp.float16), capacity=1)
    kernel = jnp.zeros((*window, 1, 1), jnp.float16)
    with pytest.raises(ValueError, match=message):
        direct.conv(x, kernel, strides=strides, capacity=1)
