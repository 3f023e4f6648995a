"""Lists of sites and kernel maps on the GPU: the CPU's, row by row."""

import numpy as np
import pytest

from jaxsparse.voxel import _kernels, _relation
from jaxsparse.voxel._kernels import Map, Sites, SortRows
from tests.cuda.common import all_of_both, assert_all_like_cpu
from tests.voxel.common import BATCH, CASES, some_rows


def relations():
    """Convolutions, transposed convolutions, and both backwards."""
    for spatial, given in CASES.values():
        arguments = {"strides": 1, "padding": "SAME", "kernel_dilation": 1, **given}
        for make in (_relation.convolution, _relation.transposed):
            try:
                relation = make("conv", spatial, **arguments)
            except ValueError:  # explicit padding that leaves nothing
                continue
            yield from (relation, relation.reversed())


def listed(rows, capacity, batch=BATCH):
    out = np.zeros((capacity, rows.shape[1]), np.int32)
    out[:, 0] = batch
    out[: len(rows)] = rows[:capacity]
    return out


def calls_of(rng, relation, share=0.3, spoil=False):
    rows = some_rows(rng, relation.in_shape, share=share)
    coords = listed(rows, len(rows) + 3)
    if spoil:
        coords[len(rows) // 2] = rng.choice([-1, 2**31 - 1, 0])
    most = len(coords) * relation.reach
    return coords, [
        (_kernels.sites, Sites(relation, BATCH, n), (coords,)) for n in (most, max(1, most // 20))
    ]


@pytest.mark.parametrize("spoil", [False, True])
def test_sites_and_maps_of_every_geometry(rng, spoil):
    given, calls = [], []
    for relation in list(relations())[:: 7 if spoil else 1]:
        coords, more = calls_of(rng, relation, spoil=spoil)
        given += [(relation, coords)] * len(more)
        calls += more
    maps = []
    for (relation, coords), (got, expected) in zip(given, all_of_both(calls), strict=True):
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
        sites = np.asarray(expected[0])
        maps.append((_kernels.kernel_map, Map(relation, BATCH), (coords, sites)))
        maps.append((_kernels.kernel_map, Map(relation.reversed(), BATCH), (sites, coords)))
    assert_all_like_cpu(maps)


@pytest.mark.parametrize("seed", [1, 2])
def test_lists_over_several_tiles(rng, seed):
    relation = _relation.convolution("conv", (12, 13, 14), 3, (1, 2, 1), "SAME", (1, 1, 2))
    coords, calls = calls_of(rng, relation)
    assert len(coords) * relation.reach > 4 * 2048
    for got, expected in all_of_both(calls, seed):
        for ours, theirs in zip(got, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


def test_rows_in_any_order_with_repetitions(rng):
    calls = []
    for n, spatial in ((0, (3, 4)), (1, (5,)), (40, (3, 4)), (700, (9, 8, 7)), (2048, (2000,)),
                       (5000, (2, 3, 4, 5)), (5000, (1200, 1100, 1000))):  # fmt: skip
        columns = [rng.integers(-1, size + 1, n) for size in (BATCH, *spatial)]
        coords = np.stack(columns, axis=1).astype(np.int32)
        for used, capacity in ((n, max(1, n)), (n // 2, 17), (-5, 3)):
            static = SortRows(BATCH, spatial, capacity)
            calls.append((_kernels.sort_rows, static, (coords, np.int32(used))))
    assert_all_like_cpu(calls, seed=3)
