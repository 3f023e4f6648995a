"""Plans: every map of a network from the coordinates of its input."""

import jax
import numpy as np
import pytest

from jaxsparse import voxel
from jaxsparse.voxel import Layer, _maps
from tests import oracle_voxel
from tests.voxel.common import some_rows, tensor
from tests.voxel.test_maps import check

pytestmark = pytest.mark.core

SPATIAL = (6, 7)
UNET = (
    Layer("submanifold_conv", 3),
    Layer("submanifold_conv", 3),
    Layer("conv", 3, strides=2),
    Layer("submanifold_conv", 3),
    Layer("max_pool", 2, capacity=9),
    Layer("unpool", 2),
    Layer("submanifold_conv", 3),
    Layer("inverse_conv", 3, strides=2),
    Layer("submanifold_conv", 3),
    Layer("conv_transpose", 2, strides=2, capacity=50),
)


def test_a_network(rng):
    """Each entry is the oracle's map between the levels; equal ones are one."""
    rows = some_rows(rng, SPATIAL)
    x = tensor(rows, SPATIAL, capacity=len(rows) + 2)
    maps = jax.jit(lambda x: voxel.plan(x, UNET))(x)
    assert len(maps) == len(UNET)
    same = oracle_voxel.window(SPATIAL, 3)
    down = oracle_voxel.window(SPATIAL, 3, 2)
    half = oracle_voxel.reached(rows, down)
    middle = tensor(half, down.out_shape, capacity=maps[2].capacity)
    same_half = oracle_voxel.window(down.out_shape, 3)
    pool = oracle_voxel.window(down.out_shape, 2, 2, "VALID")
    quarter = oracle_voxel.reached(half, pool)
    coarse = tensor(quarter, pool.out_shape, capacity=9)
    wide = oracle_voxel.transposed_window(SPATIAL, 2, 2)
    for entry, start, start_rows, end_rows, w, capacity in (
        (0, x, rows, rows, same, x.capacity),
        (1, x, rows, rows, same, x.capacity),
        (2, x, rows, half, down, None),
        (3, middle, half, half, same_half, None),
        (4, middle, half, quarter, pool, 9),
        (5, coarse, quarter, half, pool.reversed(), middle.capacity),
        (6, middle, half, half, same_half, None),
        (7, middle, half, rows, down.reversed(), x.capacity),
        (8, x, rows, rows, same, x.capacity),
        (9, x, rows, oracle_voxel.reached(rows, wide), wide, 50),
    ):
        check(maps[entry], start, start_rows, end_rows, w, capacity)


def test_equal_layers_share_a_map(rng):
    x = tensor(some_rows(rng, SPATIAL), SPATIAL)
    maps = voxel.plan(x, UNET)
    for one, other in ((0, 1), (1, 8), (3, 6)):
        assert maps[one] is maps[other]
    assert maps[7].inputs is maps[2].outputs and maps[5].outputs is maps[4].inputs
    text = str(jax.make_jaxpr(lambda x: [m.inputs for m in voxel.plan(x, UNET)])(x))
    # two ways down and one up to sites that there were not
    assert text.count("jaxsparse_voxel_sites") == 3


def test_what_nobody_uses_is_not_built(rng):
    x = tensor(some_rows(rng, SPATIAL), SPATIAL)

    def calls(function):
        text = jax.jit(function).lower(x).compile().as_text()
        return text.count('custom_call_target="jaxsparse_voxel_kernel_map"')

    assert calls(lambda x: [m.inputs for m in voxel.plan(x, UNET)]) == 7
    assert calls(lambda x: voxel.plan(x, UNET[:2])[1].inputs) == 1
    assert calls(lambda x: voxel.plan(x, UNET)[2].coords) == 0


def test_one_executable_for_all_inputs(rng):
    build = jax.jit(lambda x: voxel.plan(x, UNET))
    for share in (0.0, 0.2, 0.9):
        rows = some_rows(rng, SPATIAL, share=share)
        build(tensor(rows, SPATIAL, capacity=100))
    assert build._cache_size() == 1


@pytest.mark.parametrize(
    ("layers", "error", "match"),
    [
        ([Layer("inverse_conv", 2)], ValueError, r"layers\[0\] must be behind a conv"),
        ([Layer("subm", 3)], ValueError, r"layers\[0\].kind must be one of"),
        ([Layer("conv", 0)], ValueError, r"layers\[0\].kernel_size"),
        ([Layer("submanifold_conv", 3, strides=2)], ValueError, r"without strides and padding"),
        ([Layer("submanifold_conv", 3, capacity=4)], ValueError, r"layers\[0\].capacity"),
        ([Layer("conv", 3, capacity=0)], ValueError, r"layers\[0\].capacity must be at least 1"),
        ([Layer("conv", 3, 2), Layer("unpool", 3)], ValueError, r"layers\[1\] must be such that"),
        (["conv"], TypeError, r"layers\[0\] must be a voxel.Layer"),
        ("conv", TypeError, "layers must be a sequence"),
    ],
)
def test_errors(layers, error, match, rng):
    x = tensor(some_rows(rng, SPATIAL), SPATIAL)
    with pytest.raises(error, match=match):
        voxel.plan(x, layers)


def test_a_plan_must_fit(rng):
    """Geometry and capacity always, sites where contents are known."""
    rows = some_rows(rng, SPATIAL)
    x = tensor(rows, SPATIAL)
    (entry,) = voxel.plan(x, [Layer("conv", 3, capacity=50)])
    assert _maps.conv_map("conv", x, 3, plan=entry) is entry
    assert _maps.conv_map("conv", x, 3, capacity=50, plan=entry) is entry
    for arguments, match in (
        ({"kernel_size": 2}, "plan must be for a batch of 2 and spatial shapes"),
        ({"kernel_size": 3, "strides": 2}, "plan must be for"),
        ({"kernel_size": 3, "capacity": 51}, "capacity must be left out with plan"),
    ):
        with pytest.raises(ValueError, match=match):
            _maps.conv_map("conv", x, **arguments, plan=entry)
    with pytest.raises(ValueError, match=r"plan must be for .* rows"):
        _maps.conv_map("conv", tensor(rows[1:], SPATIAL), 3, plan=entry)
    moved = np.asarray(x.coords).copy()
    moved[0] = 0 if moved[0].any() else (0, 0, 1)
    moved = x.replace(coords=jax.numpy.asarray(moved))
    with pytest.raises(ValueError, match="plan must be made from the sites of x"):
        _maps.conv_map("conv", moved, 3, plan=entry)
    with pytest.raises(TypeError, match=r"plan must be an entry of a voxel\.plan"):
        _maps.conv_map("conv", x, 3, plan=3)
