"""Sites and kernel maps against the loops of the oracle."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsparse.voxel import _maps, _relation
from tests import oracle_voxel
from tests.voxel.common import BATCH, CASES, some_rows, tensor, transposed_window_of, window_of

pytestmark = pytest.mark.core


def check(found, x, rows, out_rows, window, capacity=None):
    """A map against the oracle's."""
    capacity = found.capacity if capacity is None else capacity
    np.testing.assert_array_equal(
        found.coords, oracle_voxel.listed(out_rows, x.batch_size, capacity)
    )
    assert int(found.count) == len(out_rows)
    inputs, outputs = oracle_voxel.kernel_map(
        rows, x.capacity, out_rows[:capacity], capacity, window
    )
    np.testing.assert_array_equal(found.inputs, inputs)
    np.testing.assert_array_equal(found.outputs, outputs)
    assert found.spatial_shape == window.out_shape and found.in_spatial_shape == window.in_shape
    assert found.inputs.shape == (found.taps, found.capacity)
    assert found.outputs.shape == (found.taps, found.in_capacity)


@pytest.mark.parametrize("name", CASES)
def test_conv_map(name, rng):
    """No site, some, all; and where the capacity cuts."""
    spatial, arguments = CASES[name]
    w = window_of(spatial, arguments)
    rows_in_all = BATCH * int(np.prod(spatial)) + 1
    for share in (0.0, 0.3, 1.0):
        rows = some_rows(rng, spatial, share=share)
        x = tensor(rows, spatial, capacity=rows_in_all)
        wanted = oracle_voxel.reached(rows, w)
        found = _maps.conv_map("conv", x, **arguments)
        check(found, x, rows, wanted, w)
        assert found.capacity >= len(wanted)  # nothing can overflow
        if share == 0.3:
            capacity = max(1, len(wanted) // 2)
            found = _maps.conv_map("conv", x, **arguments, capacity=capacity)
            check(found, x, rows, wanted, w, capacity)


@pytest.mark.parametrize("name", CASES)
def test_transposed_map(name, rng):
    spatial, arguments = CASES[name]
    rows = some_rows(rng, spatial)
    x = tensor(rows, spatial, capacity=len(rows) + 2)
    w = transposed_window_of(spatial, arguments)
    found = _maps.transposed_map("conv_transpose", x, **{"strides": 1, **arguments})
    check(found, x, rows, oracle_voxel.reached(rows, w), w)


@pytest.mark.parametrize("name", CASES)
def test_maps_onto_given_sites(name, rng):
    """Forwards and back; the sites are any, not those that are reached."""
    spatial, arguments = CASES[name]
    w = window_of(spatial, arguments)
    fine = some_rows(rng, spatial)
    coarse = some_rows(rng, w.out_shape, share=0.6)
    x, onto = tensor(fine, spatial, capacity=len(fine) + 1), tensor(coarse, w.out_shape)
    forward = _maps.conv_map("conv", x, **arguments, onto=onto)
    check(forward, x, fine, coarse, w)
    back = _maps.onto_map("inverse_conv", onto, x, **{"strides": 1, **arguments})
    check(back, onto, coarse, fine, w.reversed(), x.capacity)
    for found, wanted in zip(jax.tree.leaves(back), jax.tree.leaves(forward.transpose()), strict=True):  # fmt: skip
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, (4, 3)])
@pytest.mark.parametrize("kernel_dilation", [1, 2])
def test_submanifold_map(kernel_size, kernel_dilation, rng):
    spatial = (6, 7)
    rows = some_rows(rng, spatial)
    x = tensor(rows, spatial, capacity=len(rows) + 5)
    w = oracle_voxel.window(spatial, kernel_size, dilation=kernel_dilation)
    found = _maps.submanifold_map("submanifold_conv", x, kernel_size, kernel_dilation)
    check(found, x, rows, rows, w, x.capacity)


@pytest.mark.parametrize("padding", ["SAME", "VALID", ((2, 1), (0, 3))])
@pytest.mark.parametrize(
    ("kernel_size", "strides", "dilation"), [(3, 2, 1), (2, 2, 1), (2, 3, 1), ((4, 3), (1, 2), 2)]
)
def test_the_geometry_of_transposed_convolutions_is_that_of_jax(
    kernel_size, strides, dilation, padding
):
    """One voxel, ones as features and powers of two as weights: every tap shows where it lies."""
    w = oracle_voxel.transposed_window((4, 5), kernel_size, strides, padding, dilation)
    r = _relation.transposed("conv_transpose", (4, 5), kernel_size, strides, padding, dilation)
    assert tuple(r) == tuple(w)
    kernel = 2.0 ** np.arange(r.taps).reshape(*r.kernel_size, 1, 1)
    dense = np.zeros((1, 4, 5, 1))
    dense[0, 2, 3] = 1
    each = (1, 1)
    wanted = lax.conv_transpose(
        jnp.asarray(dense, jnp.float32),
        jnp.asarray(kernel, jnp.float32),
        tuple(np.multiply(strides, each)),
        padding,
        rhs_dilation=tuple(np.multiply(dilation, each)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_array_equal(oracle_voxel.dense_conv(dense, kernel, w), wanted)


def corrupted(coords, spatial, rng):
    """Lists that are not sound: the prefix that is counts."""
    for _ in range(8):
        bad = coords.copy()
        for _ in range(int(rng.integers(1, 4))):
            row, column = rng.integers(0, bad.shape[0]), rng.integers(0, bad.shape[1])
            bad[row, column] = rng.choice([-1, -(2**31), 2**31 - 1, 7, BATCH, 0])
        yield bad


@functools.partial(jax.jit, static_argnums=1)
def mapped(x, strides):
    return _maps.conv_map("conv", x, 3, strides, capacity=60)


@pytest.mark.parametrize("strides", [1, 2])
def test_corrupt_coordinates(strides, rng):
    spatial = (6, 7)
    rows = some_rows(rng, spatial, share=0.5)
    x = tensor(rows, spatial, capacity=len(rows) + 2)
    w = oracle_voxel.window(spatial, 3, strides)
    for bad in corrupted(np.asarray(x.coords), spatial, rng):
        bad_x = x.replace(coords=jnp.asarray(bad), count=jnp.int32(-5))
        sound = oracle_voxel.in_use(bad, BATCH, spatial)
        np.testing.assert_array_equal(bad_x.in_use(), np.arange(len(bad)) < len(sound))
        found = mapped(bad_x, strides)
        wanted = oracle_voxel.reached(sound, w)
        check(found, bad_x, sound, wanted, w, 60)


def test_far_away_taps_and_large_boxes():
    """Nothing is of the size of the volume, and no number overflows."""
    spatial = (2**20, 2**11 - 1)
    rows = np.array([[0, 0, 0], [0, 5, 2**11 - 2], [1, 2**20 - 1, 7]], np.int32)
    x = tensor(rows, spatial)
    for arguments in (
        {"kernel_size": 3},
        {"kernel_size": 3, "kernel_dilation": (2**19, 2**10)},
        {"kernel_size": 2, "strides": (2**18, 2**9)},
        {"kernel_size": 1, "padding": ((2**9, -(2**10)), (0, 0))},
    ):
        w = window_of(spatial, arguments)
        check(_maps.conv_map("conv", x, **arguments), x, rows, oracle_voxel.reached(rows, w), w)
    line = tensor(np.array([[0, 0], [0, 2**31 - 2]], np.int32), (2**31 - 1,))
    found = _maps.conv_map("conv", line, 3, 1, "SAME", 2**30)
    wanted = [[0, 0], [0, 2**30 - 2], [0, 2**30], [0, 2**31 - 2]]
    assert found.coords[: int(found.count)].tolist() == wanted
