"""`direct.conv` forward, against the oracle: exact wherever sums are exact, to rounding elsewhere."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import direct
from tests import oracle
from tests.direct.common import (
    BF16,
    F16,
    F32,
    F64,
    assert_equal,
    assert_same,
    entries,
    plain,
    precision,
    random_input,
    tensor,
)
from tests.direct.grid import GRID, SMALLEST, case_of, parameters
from tests.fma import fma32


def conv(x, kernel, bias=None, mask=None, **static):
    """One jitted convolution of NumPy operands."""
    with precision(kernel.dtype):
        operands = [None if a is None else jax.device_put(a) for a in (kernel, bias, mask)]
        return jax.jit(lambda x, k, b, m: direct.conv(x, k, b, mask=m, **static))(
            tensor(x), *operands
        )


@pytest.mark.parametrize("case", parameters(GRID))
def test_conv_equals_the_oracle(case, rng):
    c = case_of(case, rng)
    expected = oracle.conv(c.x, c.kernel, c.bias, mask=c.mask, **c.window, **c.selection)
    assert_same(conv(c.x, c.kernel, c.bias, c.mask, **c.window, **c.selection), expected)


@pytest.mark.parametrize("dtype, rtol", [(F32, 1e-6), (F64, 1e-14), (BF16, 2**-8), (F16, 2**-11)])
def test_random_floats_agree_with_the_dense_convolution(dtype, rtol, rng):
    x = random_input(rng, 2, (9, 8, 7), 5, 0.2, dtype)
    kernel = rng.normal(size=(3, 3, 3, 5, 6)).astype(dtype)
    y = conv(x, kernel, strides=(2, 1, 1))
    with jax.enable_x64(True):
        dense = jax.lax.conv_general_dilated(
            oracle.to_dense(x).astype(F64),
            kernel.astype(F64),
            (2, 1, 1),
            "SAME",
            dimension_numbers=("NXYZC", "XYZIO", "NXYZC"),
        )
    # an error is relative to the sum of the magnitudes that were added
    size = np.abs(dense).max()
    got = oracle.to_dense(plain(y)).astype(F64)
    np.testing.assert_allclose(got, dense, rtol=rtol, atol=8 * size * float(jnp.finfo(dtype).eps))


@pytest.mark.core
def test_eager_and_jitted_calls_agree(rng):
    x = random_input(rng, 2, (6, 5), 3, 0.4)
    kernel, bias = rng.normal(size=(3, 3, 3, 2)).astype(F32), rng.normal(size=2).astype(F32)
    eager = direct.conv(tensor(x), jax.device_put(kernel), jax.device_put(bias), capacity=7)
    assert_same(conv(x, kernel, bias, capacity=7), plain(eager))


# --- capacity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kernel, strides, slots, expected",
    [
        ((3, 3), 1, 2, 36),  # 2 channels * 2 entries * 9 taps
        ((3, 3), 2, 2, 16),  # an entry reaches ceil(3 / 2)^2 outputs
        ((3, 2), (2, 1), 2, 16),
        ((1, 1), 1, 3, 6),
        ((3, 3), 1, 50, 80),  # no more than the volume
        ((3, 3), (1, 4), 50, 24),
    ],
)
def test_default_capacity_is_the_least_that_cannot_overflow(kernel, strides, slots, expected, rng):
    keys = [np.sort(rng.permutation(80)[:slots]) for _ in range(2)]
    x = entries((8, 10), [keys])
    y = conv(x, np.ones((*kernel, 2, 3), F32), strides=strides)
    assert y.keys.shape == (1, 3, expected) == y.values.shape
    assert (np.asarray(y.nnz) <= expected).all()


@pytest.mark.parametrize(
    "density, expected", [(0.5, 40), (0.501, 41), (1.0, 80), (2.0, 160), (0.0125, 1), (0.013, 2)]
)
def test_density_is_a_share_of_the_output_volume(density, expected, rng):
    x = random_input(rng, 1, (8, 10), 1, 0.1)
    y = conv(x, np.ones((1, 1, 1, 1), F32), density=density)
    assert y.keys.shape[-1] == expected == oracle.density_capacity(density, 80)


def test_density_survives_rounding():
    # .07 * 100 is 7.000000000000001 in floating point
    x = entries((100,), [[[3]]])
    assert conv(x, np.ones((1, 1, 1), F32), density=0.07).keys.shape[-1] == 7


def test_nnz_counts_what_the_cut_dropped(rng):
    x = random_input(rng, 2, (12, 11), 2, 0.3)
    kernel = rng.normal(size=(3, 3, 2, 4)).astype(F32)
    whole, cut = conv(x, kernel, density=1.0), conv(x, kernel, capacity=5)
    np.testing.assert_array_equal(cut.nnz, whole.nnz)
    assert (np.asarray(cut.nnz) > 5).all()


# --- activity, bias, selection -----------------------------------------------------------------------------------

ONE = np.ones((1, 1, 1), F32)


@pytest.mark.core
def test_bias_reaches_active_responses_only():
    # x = 1 2 -2 . . 5 -1, out[i] = x[i] + x[i+1]: 3 0 -2 . 5 4; a sum that cancels is not active
    x = entries((7,), [[[0, 1, 2, 5, 6]]], [[[1, 2, -2, 5, -1]]])
    y = conv(x, np.ones((2, 1, 1), F32), np.array([-5], F32), padding="VALID")
    # 5 - 5 = 0 is an entry all the same
    expected = entries((6,), [[[0, 2, 4, 5]]], [[[-2, -7, 0, -1]]], capacity=6)
    assert_same(y, expected)
    y = conv(x, np.ones((2, 1, 1), F32), np.array([-5], F32), padding="VALID", select="relu")
    assert_same(y, entries((6,), [[[]]], capacity=6))


@pytest.mark.core
@pytest.mark.parametrize(
    "select, kept, nnz",
    [("value", [1, 2, 3], 7), ("magnitude", [0, 1, 2], 7), ("relu", [1, 2, 3], 5)],
)
def test_of_equal_scores_the_lower_key_stays(select, kept, nnz):
    values = [-5, 4, 5, 4, -1, 0, 3, 4]
    x = entries((8,), [[range(8)]], [[values]])
    expected = entries((8,), [[kept]], [[[values[k] for k in kept]]])
    y = conv(x, ONE, capacity=3, select=select)
    assert_same(y, expected._replace(nnz=np.array([[nnz]], np.int32)))


@pytest.mark.core
@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nan_of_either_sign_is_active_and_outranks_infinity(select, sign):
    x = entries((6,), [[range(6)]], [[[1, np.inf, 3, np.copysign(np.nan, sign), 2, np.nan]]])
    y = conv(x, ONE, capacity=2, select=select)
    np.testing.assert_array_equal(y.keys[0, 0], [3, 5])
    assert np.isnan(y.values).all()
    y = conv(x, ONE, capacity=3, select=select)
    np.testing.assert_array_equal(y.keys[0, 0], [1, 3, 5])


@pytest.mark.core
def test_infinities_and_the_nan_they_make_pass_through():
    x = entries((5,), [[[0, 1, 3]]], [[[np.inf, -np.inf, 1]]])
    y = conv(x, np.ones((2, 1, 1), F32), padding="VALID")  # inf - inf, -inf, 1, 1
    assert_equal(y.values[0, 0], np.array([np.nan, -np.inf, 1, 1], F32))


@pytest.mark.core
def test_a_masked_weight_takes_no_part():
    x = entries((4,), [[[0, 2]]], [[[np.inf, 1]]])
    kernel = np.array([[[0.0, np.nan, 2.0]]], F32)
    y = conv(x, kernel, mask=np.array([[[False, False, True]]]))
    np.testing.assert_array_equal(y.nnz, [[0, 0, 2]])
    # a weight that merely holds 0 is not masked: inf * 0 is NaN
    y = conv(x, kernel[..., :1])
    assert_same(y, entries((4,), [[[0]]], [[[np.nan]]], capacity=2))


@pytest.mark.core
def test_an_unstored_voxel_has_no_product():
    x = entries((4,), [[[1]]], [[[2]]])
    y = conv(x, np.array([np.inf, 1.0, np.nan], F32).reshape(3, 1, 1))
    assert_same(y, entries((4,), [[[0, 1, 2]]], [[[np.nan, 2, np.inf]]]))


def test_a_stored_zero_contributes_nothing_and_unused_slots_are_not_read():
    x = entries((6,), [[[1, 4]]], [[[0, 3]]], capacity=4)
    x.values[0, 0, 2:] = np.nan
    y = conv(x, np.ones((3, 1, 1), F32), capacity=6)
    assert_same(y, entries((6,), [[[3, 4, 5]]], [[[3, 3, 3]]], capacity=6))


# --- number types ------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("dtype", [F32, F64, BF16, F16], ids=str)
def test_subnormals_are_ordinary_numbers(dtype):
    least = np.ldexp(1.0, SMALLEST[dtype.name]).astype(dtype)
    x = entries((4,), [[[0, 3]]], [[[least, -least]]], dtype=dtype)
    y = conv(x, np.full((1, 1, 1), 2, dtype), np.array([least]), capacity=4)
    expected = entries((4,), [[[0, 3]]], [[[3 * float(least), -float(least)]]], 4, dtype)
    assert_same(y, expected)


@pytest.mark.core
def test_float32_products_below_the_smallest_number_are_not_active():
    x = entries((3,), [[[0, 1, 2]]], [[[1e-30, 1e-20, 3e-23]]])
    y = conv(x, np.full((1, 1, 1), 1e-22, F32), capacity=3)
    # the first is 1e-52; of the others as much is left as float32 can hold
    left = fma32(x.values[0, 0, 1:], np.float32(1e-22), np.float32(0))
    assert_same(y, entries((3,), [[[1, 2]]], [[left]], capacity=3))


@pytest.mark.core
@pytest.mark.parametrize(
    "dtype, big, small", [(F16, 2.0**-14, 2.0**-12), (BF16, 2.0**-100, 2.0**-36)]
)
def test_an_entry_that_rounds_to_zero_stays_stored(dtype, big, small):
    """Activity, bias and selection look at the float32 accumulator; rounding to the storage type comes last."""
    x = entries((3,), [[[0, 2]]], [[[big, -big]]], dtype=dtype)
    y = conv(x, np.full((1, 1, 1), small, dtype), capacity=2)
    assert_same(y, entries((3,), [[[0, 2]]], [[[0, -0.0]]], 2, dtype))
    y = conv(x, np.full((1, 1, 1), small, dtype), capacity=2, select="relu")
    assert_same(y, entries((3,), [[[0]]], [[[0]]], 2, dtype))


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_selection_sees_more_than_the_storage_type_holds(dtype):
    # responses 1, 1 + 2^-12, 1 + 2^-13: one number in the storage type, three in the accumulator
    x = entries((3,), [[range(3)] * 2], [[[1, 1, 1], [0, 2.0**-12, 2.0**-13]]], dtype=dtype)
    y = conv(x, np.ones((1, 2, 1), dtype), capacity=1)
    assert_same(y, entries((3,), [[[1]]], [[[1]]], 1, dtype)._replace(nnz=np.array([[3]], "i4")))


# --- bigger shapes -----------------------------------------------------------------------------------------------

LARGE = {  # many tiles of keys, many channels, long rows, rows of one voxel, many batch elements
    "line": ((70_001,), (5,), 2, 3, 0.02, {}),
    "wide": ((300, 417), (3, 3), 2, 2, 0.01, {"strides": 2}),
    "tall": ((3000, 3), (3, 3), 1, 4, 0.2, {}),
    "volume": ((41, 53, 47), (3, 3, 3), 2, 9, 0.02, {}),
    "strided": ((64, 50, 33), (3, 2, 3), 2, 16, 0.03, {"strides": 2}),
    "thin": ((50_000, 1, 1), (3, 1, 1), 1, 2, 0.1, {}),
    "four": ((13, 11, 17, 12), (3, 1, 2, 3), 2, 5, 0.05, {}),
    "channels": ((24, 24), (3, 3), 40, 70, 0.1, {}),
    "batch": ((15, 14), (3, 3), 2, 3, 0.1, {}),
    "long kernel": ((400, 3), (150, 1), 2, 3, 0.05, {}),
    "wide kernel": ((3, 400), (2, 130), 2, 3, 0.05, {"strides": (1, 3)}),
    "far taps": ((500, 40), (3, 3), 2, 3, 0.05, {"kernel_dilation": (200, 19)}),
    "taps 58 apart": ((30, 700), (2, 3), 2, 3, 0.005, {"kernel_dilation": (1, 29)}),
    "long row": ((20_000,), (64,), 2, 3, 0.002, {}),
    "far strides": ((300, 301), (2, 2), 2, 3, 0.05, {"strides": (17, 40), "kernel_dilation": 7}),
    "far padding": ((9, 8), (3, 3), 2, 3, 0.3, {"padding": ((200, 3), (-2, 300))}),
}


@pytest.mark.parametrize("shape", LARGE)
@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_large_inputs(shape, select, rng):
    spatial, kernel, ci, co, density, window = LARGE[shape]
    batch = 70 if shape == "batch" else 2
    lists = [
        [np.flatnonzero(rng.random(math.prod(spatial)) < density) for _ in range(ci)]
        for _ in range(batch)
    ]
    values = [[rng.integers(-9, 10, len(keys)) for keys in row] for row in lists]  # ties abound
    x = entries(spatial, lists, values)
    weights = rng.integers(-3, 4, (*kernel, ci, co)).astype(F32)
    mask = rng.random(weights.shape) < 0.6
    static = {"select": select, "capacity": max(3, math.prod(spatial) // 40)} | window
    assert_same(
        conv(x, weights, None, mask, **static), oracle.conv(x, weights, mask=mask, **static)
    )


def patterns(rng, keys, volume):
    """Where the strong responses lie decides how a selection that reads keys in order has to work."""
    yield "equal", np.ones(len(keys))
    yield "weakest first", keys + 1.0
    yield "strongest first", volume - keys
    yield (
        "strong in one corner",
        np.where(keys < volume // 50, 1000.0, 1.0) + rng.integers(0, 3, len(keys)),
    )
    yield "strong at the end", np.where(keys > volume - volume // 50, 900.0, -1.0)
    yield (
        "a few NaN",
        np.where(rng.random(len(keys)) < 1e-3, np.nan, rng.integers(-99, 99, len(keys))),
    )
    yield (
        "mostly NaN",
        np.where(rng.random(len(keys)) < 0.7, np.nan, rng.integers(-99, 99, len(keys))),
    )
    yield "two values", rng.choice([1.0, 2.0], len(keys), p=[0.7, 0.3])


@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_selection_among_millions_of_voxels(select, rng):
    spatial, volume = (128, 129, 127), 128 * 129 * 127
    keys = np.flatnonzero(rng.random(volume) < 0.03).astype(np.int32)
    kernel = np.array([1, -1], F32).reshape(1, 1, 1, 1, 2)
    run = jax.jit(
        lambda x: [direct.conv(x, kernel, select=select, capacity=c) for c in (1, 3000, 50_000)]
    )
    for name, values in patterns(rng, keys, volume):
        x = entries(spatial, [[keys]], [[values]])
        for y in run(tensor(x)):
            expected = oracle.conv(x, kernel, select=select, capacity=y.capacity)
            np.testing.assert_array_equal(y.keys, expected.keys, err_msg=name)
            assert_same(y, expected)


def test_selection_where_a_sample_of_places_misleads(rng):
    """All strong values in one short range of keys, and a few places more: whoever looks at a part of the volume and
    finds that range expects many more of them."""
    volume = 2_100_000
    keys = np.flatnonzero(rng.random(volume) < 0.03)
    run = jax.jit(lambda x: direct.conv(x, ONE, capacity=300))
    for start in rng.choice(volume - 8192, 16):
        inside = (keys >= start) & (keys < start + 8192)
        values = np.where(inside, 1000.0, 1.0) + rng.integers(0, 900, len(keys))
        assert inside.sum() < 300
        x = entries((volume,), [[keys]], [[values]])
        assert_same(run(tensor(x)), oracle.conv(x, ONE, capacity=300))


@pytest.mark.parametrize("dtype", [BF16, F16])
def test_large_lists_of_narrow_types_block_by_block(dtype, rng):
    """Responses wait in float32 for their selection: with large capacities one block of channels at a time."""
    x = random_input(rng, 2, (150_000,), 1, 1e-4, dtype)
    kernel = rng.normal(size=(3, 1, 33)).astype(dtype)
    few, many = (plain(conv(x, kernel, capacity=slots)) for slots in (90, 140_000))
    assert few.nnz.min() > 0 and few.nnz.max() <= 90
    np.testing.assert_array_equal(many.nnz, few.nnz)
    np.testing.assert_array_equal(many.keys[..., :90], few.keys)
    assert_equal(many.values[..., :90], few.values)
    assert not many.values[..., 90:].any()
