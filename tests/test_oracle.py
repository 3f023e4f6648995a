"""The specification itself is tested: against XLA's dense operations, and against loops that are written another way."""

import itertools
import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import oracle
from tests.fma import fma32, fma32_by_libm, fma64
from tests.oracle import Sparse
from tests.pairwise import pairwise

pytestmark = pytest.mark.core

LAYOUT = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}
LAYOUT[4] = ("N0123C", "0123IO", "N0123C")

SPATIAL = {1: (9,), 2: (5, 6), 3: (4, 3, 5), 4: (3, 4, 2, 3)}
GRID = pairwise(
    {
        "dims": (1, 2, 3, 4),
        "kernel": (1, 2, 3, (3, 1, 2, 2)),
        "strides": (1, 2, (2, 1, 3, 2)),
        "padding": ("SAME", "VALID", "asymmetric", "negative"),
        "dilation": (1, 2),
        "channels": ((1, 1), (3, 2)),
    }
)


def arrange(case, rng):
    """A dense input with zeros, a kernel, and the window arguments of one case."""
    dims = case["dims"]
    kernel = oracle.each(case["kernel"], dims if np.ndim(case["kernel"]) == 0 else 4)[:dims]
    strides = case["strides"] if np.ndim(case["strides"]) == 0 else case["strides"][:dims]
    padding = {
        "asymmetric": ((2, 0), (0, 3), (1, 2), (0, 1))[:dims],
        "negative": ((-1, 2), (1, -1), (2, -1), (1, 1))[:dims],
    }.get(case["padding"], case["padding"])
    spatial = tuple(n + 5 if case["dilation"] == 2 else n + 1 for n in SPATIAL[dims])
    ci, co = case["channels"]
    x = rng.normal(size=(2, *spatial, ci)) * (rng.random((2, *spatial, ci)) < 0.3)
    w = rng.normal(size=(*kernel, ci, co))
    return x, w, {"strides": strides, "padding": padding, "kernel_dilation": case["dilation"]}


def dense_conv(x, w, strides, padding, kernel_dilation):
    dims = x.ndim - 2
    strides, dilation = oracle.each(strides, dims), oracle.each(kernel_dilation, dims)
    return jax.lax.conv_general_dilated(
        x,
        w,
        strides,
        padding,
        rhs_dilation=dilation,
        dimension_numbers=LAYOUT[dims],
        precision="highest",
    )


@pytest.mark.parametrize("case", GRID, ids=str)
def test_conv_and_its_gradients_equal_the_dense_ones(case, rng):
    x, w, window = arrange(case, rng)
    mask = rng.random(w.shape) < 0.7
    with jax.enable_x64(True):
        dense, vjp = jax.vjp(
            lambda x, w: dense_conv(x, w, **window), jnp.asarray(x), jnp.asarray(w * mask)
        )
        sparse = oracle.from_dense(x)
        y = oracle.conv(sparse, w, mask=mask, capacity=dense[0, ..., 0].size, **window)
        np.testing.assert_allclose(oracle.to_dense(y), dense, rtol=0, atol=1e-12)

        gy = rng.normal(size=y.values.shape)
        gx, gw, gb = oracle.conv_gradients(sparse, w, y, gy, mask=mask, **window)
        dense_gx, dense_gw = map(
            np.asarray, vjp(jnp.asarray(oracle.to_dense(y._replace(values=gy))))
        )
    np.testing.assert_allclose(
        gx, oracle.gather_dense(sparse.keys, dense_gx, x.shape[1:-1]), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(gw, dense_gw * mask, rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        gb, oracle.to_dense(y._replace(values=gy)).sum(tuple(range(x.ndim - 1))), atol=1e-12
    )


@pytest.mark.parametrize("select", ["value", "magnitude", "relu"])
def test_selection_keeps_the_strongest_and_of_equals_the_lower_key(select, rng):
    values = rng.integers(-3, 4, (2, 4, 6, 3)).astype(np.float64)
    values[0, 0, 0], values[0, 0, 1], values[0, 1, 0] = np.nan, np.inf, -np.inf
    for capacity in (1, 4, 9, 24, 30):
        kept = oracle.from_dense(values, capacity, select)
        for b, c in itertools.product(range(2), range(3)):
            left = list(enumerate(values[b, :, :, c].ravel()))
            left = [(k, v) for k, v in left if (v != 0 if select != "relu" else not v <= 0)]
            assert kept.nnz[b, c] == len(left)
            chosen = []
            while left and len(chosen) < capacity:  # again and again the best one
                best = left[0]
                for k, v in left[1:]:
                    a, s = (abs(v), abs(best[1])) if select == "magnitude" else (v, best[1])
                    if not math.isnan(s) and (math.isnan(a) or a > s):
                        best = (k, v)
                left.remove(best)
                chosen.append(best)
            chosen = sorted(chosen) + [(24, 0.0)] * (capacity - len(chosen))
            np.testing.assert_array_equal(kept.keys[b, c], [k for k, _ in chosen])
            np.testing.assert_array_equal(kept.values[b, c], [v for _, v in chosen])


def test_bias_goes_to_active_responses_only_and_activity_is_that_of_the_response():
    x = oracle.from_dense(np.array([0.0, 1, 2, -2, 0, 0, 5, -1])[None, :, None])
    kernel = np.array([1.0, 1.0])[:, None, None]  # out[i] = x[i] + x[i + 1]
    y = oracle.conv(x, kernel, np.array([-5.0]), padding="VALID", capacity=7)
    # responses 1 3 0 -2 0 5 4: the cancelled sums stay empty, 5 - 5 = 0 is an entry
    np.testing.assert_array_equal(y.keys[0, 0], [0, 1, 3, 5, 6, 7, 7])
    np.testing.assert_array_equal(y.values[0, 0], [-4, -2, -7, 0, -1, 0, 0])
    np.testing.assert_array_equal(y.nnz, [[5]])
    y = oracle.conv(x, kernel, np.array([-4.0]), padding="VALID", capacity=7, select="relu")
    np.testing.assert_array_equal(y.keys[0, 0], [5, 7, 7, 7, 7, 7, 7])
    np.testing.assert_array_equal((y.values[0, 0, 0], y.nnz[0, 0]), (1, 1))


def test_a_masked_weight_takes_no_part_and_an_unmasked_zero_does():
    x = oracle.from_dense(np.array([np.inf, 0.0, 1.0])[None, :, None])
    kernel = np.zeros((1, 1, 1))
    masked = oracle.conv(x, kernel, mask=np.zeros((1, 1, 1), bool))
    assert masked.nnz == 0
    y = oracle.conv(x, kernel)
    np.testing.assert_array_equal((y.keys[0, 0, 0], y.values[0, 0, 0], y.nnz[0, 0]), (0, np.nan, 1))
    y = oracle.conv(x, np.full((1, 1, 1), np.inf))  # an unstored voxel has no product, not 0 * inf
    np.testing.assert_array_equal(y.keys[0, 0], [0, 2, 3])


def test_lists_end_at_the_first_key_that_is_out_of_order_or_range():
    for keys, n in (
        ((0, 3, 8), 3),
        ((0, 3, 9), 2),
        ((3, 3, 4), 1),
        ((4, 2, 5), 1),
        ((-1, 2, 3), 0),
        ((0, -7, 3), 1),
    ):
        assert oracle.stored(np.array(keys, np.int32), 9) == n


@pytest.mark.parametrize(
    "spatial, window, strides", [((7,), 2, None), ((5, 6), (3, 2), (2, 2)), ((4, 5, 3), 2, 3)]
)
def test_max_pool_of_positive_values_equals_the_dense_one(spatial, window, strides, rng):
    x = rng.integers(1, 9, (2, *spatial, 3)) * (rng.random((2, *spatial, 3)) < 0.4)
    y, source = oracle.max_pool(
        oracle.from_dense(x.astype(np.float32)), window, strides, capacity=60
    )
    window = oracle.each(window, len(spatial))
    strides = window if strides is None else oracle.each(strides, len(spatial))
    # cut at the end, nothing in front; voxels behind the last window belong to none
    pads = [
        (0, max((-(-n // s) - 1) * s + w - n, 0))
        for n, w, s in zip(spatial, window, strides, strict=True)
    ]
    ends = [(-(-n // s) - 1) * s + w for n, w, s in zip(spatial, window, strides, strict=True)]
    cut = x[(slice(None), *(slice(0, e) for e in ends))]
    dense = jax.lax.reduce_window(
        cut.astype(np.float32),
        0.0,
        jax.lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *pads, (0, 0)),
    )
    np.testing.assert_array_equal(oracle.to_dense(y), dense)
    flat = x.reshape(2, -1, 3)
    for b, c in np.ndindex(2, 3):
        n = y.nnz[b, c]
        keys = np.flatnonzero(flat[b, :, c])[source[b, c, :n]]
        np.testing.assert_array_equal(flat[b, keys, c], y.values[b, c, :n])


def test_max_pool_ties_nan_and_negative_values():
    values = np.array([[-3, -1, -1, np.nan, 2, np.nan, 7, 7]], np.float32)
    x = Sparse(
        np.arange(8, dtype=np.int32)[None, None], values[None], np.full((1, 1), 8, np.int32), (8,)
    )
    y, source = oracle.max_pool(x, 3)
    np.testing.assert_array_equal(y.values[0, 0, :3], [-1, np.nan, 7])
    np.testing.assert_array_equal(source[0, 0], [1, 3, 6, -1, -1, -1, -1, -1])
    y, source = oracle.relu(x)
    np.testing.assert_array_equal(source[0, 0], [3, 4, 5, 6, 7, -1, -1, -1])
    np.testing.assert_array_equal(y.nnz, [[5]])


def test_gradient_of_pooling_collects_at_the_slot():
    g = np.array([[[1.0, 2.0, 4.0, 8.0]]])
    np.testing.assert_array_equal(oracle.put_add(g, np.array([[[2, 0, 2, -1]]]), 3), [[[2, 0, 5]]])


@pytest.mark.parametrize("duplicates, expected", [("sum", 3.0), ("max", 4.0), ("last", -1.0)])
def test_coordinates_become_entries(duplicates, expected):
    coords = np.array([[0, 1, 1], [0, 0, 2], [0, 1, 1], [2, 0, 0], [1, 3, 0], [1, 0, 0]])
    values = np.array([4.0, 5, -1, 6, 7, 8])
    x = oracle.from_coords(
        coords, values, 2, (2, 3), 3, duplicates, count=5
    )  # the last row is padding
    np.testing.assert_array_equal(x.keys[:, 0], [[2, 4, 6], [6, 6, 6]])
    np.testing.assert_array_equal(x.values[0, 0], [5, expected, 0])
    np.testing.assert_array_equal(x.nnz, [[2], [0]])


def hard_numbers(rng, n):
    """float32 of every magnitude (random bits) and ordinary ones."""
    bits = rng.integers(0, 2**32, n, np.uint32)
    bits = np.where(rng.random(n) < 0.1, bits & 0x80FFFFFF, bits)  # many subnormals
    wild = bits.view(np.float32)
    return rng.permutation(
        np.concatenate([wild[np.isfinite(wild)], rng.normal(size=n).astype(np.float32)])
    )[:n]


def test_vectorised_fma_equals_the_c_library(rng):
    a, b, c = (hard_numbers(rng, 30_000) for _ in range(3))
    with np.errstate(all="ignore"):
        near = (-a * b).astype(np.float32)  # addends that cancel the product all but its last bits
    for addend in (c, near, np.nextafter(near, np.float32(0))):
        np.testing.assert_array_equal(fma32(a, b, addend), fma32_by_libm(a, b, addend))


def test_fma64_rounds_once(rng):
    a, b, c = (rng.normal(size=200) for _ in range(3))
    c[:100] = -(a * b)[:100]
    exact = [
        float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c, strict=True)
    ]
    np.testing.assert_array_equal(fma64(a, b, c), exact)


def test_the_stated_order_is_a_float32_loop(rng):
    """One output and one input gradient, summed by hand."""
    x = rng.normal(size=(1, 5, 2)).astype(np.float32)
    w = rng.normal(size=(3, 2, 2)).astype(np.float32)
    bias = rng.normal(size=2).astype(np.float32)
    sparse = oracle.from_dense(x)
    y = oracle.conv(sparse, w, bias, padding="VALID", arithmetic=oracle.stated(np.float32))
    for o, co in itertools.product(range(3), range(2)):
        acc = np.float32(0)
        for ci, tap in itertools.product(range(2), range(3)):
            acc = fma32_by_libm(x[0, o + tap, ci], w[tap, ci, co], acc)
        assert y.values[0, co, o] == np.float32(acc + bias[co])
    gy = rng.normal(size=(1, 2, 3)).astype(np.float32)
    y = y._replace(keys=y.keys[..., :3], values=y.values[..., :3])
    gx, _, _ = oracle.conv_gradients(
        sparse, w, y, gy, padding="VALID", arithmetic=oracle.stated(np.float32)
    )
    for p, ci in itertools.product(range(5), range(2)):
        total = np.float32(0)
        for co in range(2):
            acc = np.float32(0)
            for tap in range(3):
                if 0 <= p - tap < 3:
                    acc = fma32_by_libm(gy[0, co, p - tap], w[tap, ci, co], acc)
            total = np.float32(total + acc)
        assert gx[0, ci, p] == total


def test_a_pairwise_grid_meets_every_pair():
    factors = {"a": (1, 2, 3), "b": ("x", "y"), "c": (True, False), "d": range(4)}
    cases = pairwise(factors)
    for (m, ms), (n, ns) in itertools.combinations(factors.items(), 2):
        assert {(case[m], case[n]) for case in cases} == set(itertools.product(ms, ns))
    assert cases == pairwise(factors)
    assert len(cases) < 3 * 2 * 2 * 4 / 2
