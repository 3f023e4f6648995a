"""reduce_mask on the GPU: the CPU's list, row by row."""

import numpy as np
import pytest

from jaxsparse.block import Geometry, _kernels
from jaxsparse.block._kernels import Boxes, Reduce
from tests.block.common import CHAINS, GRIDS, chain
from tests.cuda.common import all_of_both
from tests.direct.common import DTYPES, F32, F64

BATCH = 2
ALL = GRIDS | {f"chain {name}": chain(name) for name in CHAINS}
# Above it the responses are several chunks (xla_kernels/src/block/reduce_mask_cuda.h).
WHOLE = 8192


def assert_same_lists(mask, g, capacities, mode=0, threshold=0.0, seed=1):
    """The number of blocks found. The other results are scratch memory."""
    operands = (mask, np.asarray(threshold, F64 if mask.dtype == F64 else F32))
    calls = [
        (_kernels.reduce_mask, Reduce(Boxes(g.window, g.grid), g.blocks, n, mode), operands)
        for n in capacities
    ]
    found = 0
    for got, expected in all_of_both(calls, seed, mask.dtype):
        for ours, theirs in zip(got[:2], expected[:2], strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        found = int(expected[1][0])
    return found


def masks(rng, g, dtype=F32, share=0.15, batch=BATCH):
    x = rng.normal(size=(batch, *g.spatial_shape))
    return np.where(rng.random(x.shape) < share, x, 0).astype(dtype)


def every_capacity(mask, g, **arguments):
    found = assert_same_lists(mask, g, [len(mask) * g.blocks], **arguments)
    few = {1, max(1, found // 2), max(1, found - 1), max(1, found), found + 1}
    assert_same_lists(mask, g, sorted(few), **arguments)
    return found


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("name", ALL)
def test_every_grid(rng, name, mode):
    every_capacity(masks(rng, ALL[name]), ALL[name], mode=mode, threshold=0.05)


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(bool)], ids=str)
def test_every_dtype(rng, dtype, mode):
    for g in (GRIDS["2d overlap"], GRIDS["3d"]):
        every_capacity(masks(rng, g, dtype), g, mode=mode)


@pytest.mark.parametrize("mode", [0, 1])
def test_special_values(rng, mode):
    g = Geometry.regular((31, 40), (3, 4), stride=(2, 3), offset=-2)
    mask = masks(rng, g, share=0.5)
    special = rng.random(mask.shape) < 0.03
    mask[special] = rng.choice([np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-42], special.sum())
    for threshold in (0.0, -np.inf, 1e-43, -5.0, np.inf):
        every_capacity(mask, g, mode=mode, threshold=threshold)


@pytest.mark.parametrize("mode", [0, 1])
def test_the_comparison_is_strict(mode):
    mask = np.full((1, 6), 0.7, F32)
    mask[0, 4:] = np.nextafter(F32.type(0.7), F32.type(1))
    found = every_capacity(mask, Geometry.regular((6,), 2), mode=mode, threshold=F32.type(0.7))
    assert found == 1


@pytest.mark.parametrize("share", [0, 1])
def test_nothing_and_everything_is_active(share):
    g = GRIDS["2d"]
    found = every_capacity(np.full((BATCH, *g.spatial_shape), share, F32), g)
    assert found == share * BATCH * g.blocks


# Around a warp (32 pixels), a block (256), and a segment of a sum (8192).
@pytest.mark.parametrize("size", [(4, 8), (3, 11), (16, 16), (13, 20), (90, 91), (95, 100)])
@pytest.mark.parametrize("mode", [0, 1])
def test_windows_of_a_warp_a_block_and_more(rng, size, mode):
    g = Geometry.regular((100, 120), size, offset=-1)
    mask = masks(rng, g, batch=1, share=0.9) * 1e6
    every_capacity(mask, g, mode=mode, threshold=mask.mean())


@pytest.mark.parametrize("kind", ["ties", "values"])
@pytest.mark.parametrize("blocks", [WHOLE, WHOLE + 1, 20000])
def test_many_blocks(rng, blocks, kind):
    g = Geometry.regular((blocks,), 1)
    mask = masks(rng, g, batch=1, share=0.5)
    if kind == "ties":
        mask = np.round(mask)
    every_capacity(mask, g)


def test_many_blocks_of_a_batch(rng):
    g = Geometry.regular((70, 80), 2, stride=1)
    every_capacity(masks(rng, g, share=0.3), g)
    every_capacity(masks(rng, g, share=0.3), g, mode=1)


@pytest.mark.parametrize("blocks", [1000, WHOLE + 1000])
def test_all_bits_of_a_response_are_told_apart(blocks):
    """Numbers that are neighbours: the threshold is found in the last pass."""
    for dtype in (F32, F64):
        one = np.ones((1, blocks), dtype)
        steps = np.random.default_rng(1).permutation(blocks).reshape(one.shape)
        bits = f"u{one.dtype.itemsize}"
        mask = (one.view(bits) + steps.astype(bits)).view(dtype)
        assert_same_lists(mask, Geometry.regular((blocks,), 1), (1, 256, blocks - 1))


@pytest.mark.parametrize("seed", range(2, 5))
def test_no_order_of_warps_and_blocks_changes_a_row(rng, seed):
    for size in (500, 9000):
        g = Geometry.regular((size,), 3, stride=1, offset=-1)
        assert_same_lists(np.round(masks(rng, g)), g, [size // 4], seed=seed)


def test_an_empty_batch():
    assert assert_same_lists(np.zeros((0, 9, 12), bool), GRIDS["2d"], [3]) == 0
