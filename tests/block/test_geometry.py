"""The grid of blocks against sets of pixels, and against XLA's shapes."""

import itertools

import jax
import numpy as np
import pytest

from jaxsparse import block
from jaxsparse._core import windows
from jaxsparse.block import Geometry, Tiling
from tests import oracle_block as oracle
from tests.block.common import CHAINS, GRIDS, chain

pytestmark = pytest.mark.core


def per_axis(shape, arguments):
    """For each axis the chain as (kernel, stride, low, dilation), each with the padding of its own input size."""
    kernels = arguments["kernel_sizes"]
    kernels = (kernels,) if isinstance(kernels, int) else kernels
    dims, n = len(shape), len(kernels)

    def entries(name, default):
        value = arguments.get(name, default)
        return (value,) * n if isinstance(value, (int, str)) else value

    def each(value):
        return (value,) * dims if isinstance(value, int) else value

    axes, size = [[] for _ in shape], list(shape)
    for kernel, stride, dilation, padding in zip(
        kernels, entries("strides", 1), entries("kernel_dilations", 1), entries("padding", "SAME"),
        strict=True,
    ):  # fmt: skip
        for d, (k, s, r) in enumerate(zip(each(kernel), each(stride), each(dilation), strict=True)):
            if isinstance(padding, str):
                low, high = oracle.same_padding(size[d], k, s, r) if padding == "SAME" else (0, 0)
            else:
                low, high = padding[d]
            axes[d].append((k, s, low, r))
            size[d] = (size[d] + low + high - (k - 1) * r - 1) // s + 1
    return axes, tuple(size)


@pytest.mark.parametrize("name", CHAINS)
def test_windows_hold_what_tiles_read_and_tiles_are_as_large_as_they_can_be(name):
    shape, size, arguments = CHAINS[name]
    g = chain(name)
    axes, out = per_axis(shape, arguments)
    assert g.out_shape == out and g.spatial_shape == shape
    assert g.block_size == ((size,) * len(shape) if isinstance(size, int) else size)
    assert g.dims == len(shape) and g.blocks == np.prod(g.grid)
    for d, links in enumerate(axes):
        covered = []
        for i in range(g.grid[d]):
            window = range(
                g.offset[d] + i * g.stride[d], g.offset[d] + i * g.stride[d] + g.block_size[d]
            )
            first = g.tile.offset[d] + i * g.tile.stride[d]
            tile = range(first, first + g.tile_size[d])
            assert oracle.reads(links, set(tile)) <= set(window)
            assert not oracle.reads(links, {*tile, tile.stop}) <= set(window)
            covered += tile
        # Side by side, from the first output on; the last tile is needed.
        assert covered == list(range(len(covered)))
        assert len(covered) - g.tile_size[d] < out[d] <= len(covered)


@pytest.mark.parametrize("name", CHAINS)
def test_levels_lead_from_window_to_tile(name):
    shape, _, arguments = CHAINS[name]
    g = chain(name)
    axes, _ = per_axis(shape, arguments)
    assert g.levels[0] == g.window and g.levels[-1] == g.tile
    assert len(g.levels) == len(axes[0]) + 1
    for d, links in enumerate(axes):
        for before, after, (k, s, low, r) in zip(g.levels[:-1], g.levels[1:], links, strict=True):
            assert after.size[d] == (before.size[d] - (k - 1) * r - 1) // s + 1
            for i in range(g.grid[d]):
                start = after.offset[d] + i * after.stride[d]
                assert start * s - low == before.offset[d] + i * before.stride[d]


@pytest.mark.parametrize(
    "n, k, s, r", list(itertools.product((5, 8, 13), (1, 2, 3, 4), (1, 2, 3), (1, 2)))
)
def test_same_is_that_of_xla(n, k, s, r):
    """One convolution: the output size and the padding in front are those of lax."""
    extent = (k - 1) * r + 1
    g = block.geometry((n,), extent + 3, kernel_sizes=k, strides=s, kernel_dilations=r)
    padding = jax.lax.padtype_to_pads((n,), (extent,), (s,), "SAME")
    assert g.offset == (-padding[0][0],)
    out = jax.eval_shape(
        lambda x, w: jax.lax.conv_general_dilated(x, w, (s,), "SAME", rhs_dilation=(r,)),
        jax.ShapeDtypeStruct((1, 1, n), np.float32),
        jax.ShapeDtypeStruct((1, 1, k), np.float32),
    )
    assert g.out_shape == out.shape[2:]


def test_a_block_that_is_too_small_says_the_least():
    arguments = {
        "kernel_sizes": (3, (1, 5), 2),
        "strides": (2, 1, (3, 1)),
        "kernel_dilations": (1, 1, 2),
    }
    with pytest.raises(ValueError, match=r"block_size must be at least \((\d+), (\d+)\)") as caught:
        block.geometry((30, 40), 1, **arguments)
    least = tuple(int(n) for n in str(caught.value).split("(")[1].split(")")[0].split(","))
    assert block.geometry((30, 40), least, **arguments).tile_size == (1, 1)
    for d in range(2):
        smaller = tuple(n - (i == d) for i, n in enumerate(least))
        with pytest.raises(ValueError, match="block_size must be at least"):
            block.geometry((30, 40), smaller, **arguments)


@pytest.mark.parametrize("name", GRIDS)
def test_regular_grids(name):
    g = GRIDS[name]
    assert g.window is g.tile and g.tile_size == g.block_size


def test_regular_grids_reach_the_end_with_no_block_to_spare():
    for n, size, stride, offset in itertools.product((4, 9), (1, 3, 12), (1, 2, 5), (-4, 0, 3)):
        g = Geometry.regular((n,), size, stride=stride, offset=offset)
        starts = [offset + i * stride for i in range(g.grid[0] + 1)]
        assert g.grid == (1,) or (starts[-2] < n and starts[-3] + size < n)
        assert starts[-1] >= n or starts[-2] + size >= n


def test_it_is_static_and_hashable():
    a, b = (block.geometry([20, 30], 8, kernel_sizes=[3, 3]) for _ in range(2))
    assert a == b and hash(a) == hash(b) and a is not b
    assert a != block.geometry((20, 30), 9, kernel_sizes=(3, 3))
    rebuilt = Geometry(list(a.grid), [Tiling(*map(list, level)) for level in a.levels])
    assert rebuilt == a and hash(rebuilt) == hash(a)


def test_the_shape_logic_is_that_of_the_other_rooms():
    conv = windows.convolution("conv", (9, 12), (3, 4), 2, "SAME", (1, 2))
    g = block.geometry((9, 12), 9, kernel_sizes=((3, 4),), strides=2, kernel_dilations=((1, 2),))
    assert g.out_shape == conv.out_shape and g.offset == tuple(-low for low, _ in conv.padding)
