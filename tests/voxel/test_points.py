"""`voxel.voxelize` and `voxel.devoxelize` against their definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxsparse import voxel
from tests import oracle_voxel
from tests.voxel.common import some_rows, tensor

LOWER, EDGE, BATCH = -1.0, 0.4, 2
SPATIAL = {1: (9,), 2: (5, 6), 3: (4, 3, 5), 4: (3, 2, 3, 2)}
BOX = {d: (LOWER, [LOWER + EDGE * n for n in s]) for d, s in SPATIAL.items()}


def cloud(rng, dims, number=60, channels=3):
    """Some points outside of the box, one at its lower corner, one nowhere; three elements of which two exist."""
    size = EDGE * np.array(SPATIAL[dims])
    points = (LOWER - 0.2 * size + 1.4 * size * rng.random((number, dims))).astype(np.float32)
    points[0], points[1, 0], points[2, -1] = LOWER, np.nan, np.inf
    batch = rng.integers(0, BATCH + 1, number).astype(np.int32)
    batch[0], batch[3] = 0, -1
    return points, rng.normal(size=(number, channels)).astype(np.float32), batch


def given(dims):
    return {"bounds": BOX[dims], "edge": EDGE, "batch_size": BATCH}


@pytest.mark.parametrize(("dims", "merge"), [(1, "sum"), (2, "max"), (3, "mean"), (4, "mean")])
def test_voxels_of_points(dims, merge, rng):
    points, features, batch = cloud(rng, dims)
    found = jax.jit(functools.partial(voxel.voxelize, merge=merge, **given(dims)))(
        points, features, batch=batch
    )
    sites, merged, owner = oracle_voxel.voxelized(
        points, features, LOWER, EDGE, SPATIAL[dims], batch, BATCH, merge
    )
    x, number = found.voxels.validate(), len(sites)
    assert x.spatial_shape == SPATIAL[dims] and int(x.count) == number
    np.testing.assert_array_equal(x.coords[:number], sites)
    np.testing.assert_allclose(x.features[:number], merged, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.rows, np.where(owner < 0, x.capacity, owner))
    assert int(found.dropped) == (owner < 0).sum() > 3


@pytest.mark.core
def test_a_cut_list_padding_and_the_order_of_points(rng):
    points, features, batch = cloud(rng, 2)

    @jax.jit
    def cut(points, features, batch, count):
        return voxel.voxelize(
            points, features, batch=batch, capacity=7, count=count, merge="max", **given(2)
        )

    found = cut(points, features, batch, 50)
    sites, merged, owner = oracle_voxel.voxelized(
        points[:50], features[:50], LOWER, EDGE, SPATIAL[2], batch[:50], BATCH, "max"
    )
    assert (
        int(found.voxels.count) == len(sites) > 7 and int(found.voxels.overflow) == len(sites) - 7
    )
    np.testing.assert_array_equal(found.voxels.coords, sites[:7])
    np.testing.assert_allclose(found.voxels.features, merged[:7], rtol=1e-6)
    kept = np.where((owner < 0) | (owner >= 7), 7, owner)
    np.testing.assert_array_equal(found.rows, [*kept, *[7] * 10])
    assert int(found.dropped) == (owner < 0).sum()
    shuffled = rng.permutation(50)
    again = cut(
        *(np.concatenate([a[:50][shuffled], a[50:]]) for a in (points, features, batch)), 50
    )
    np.testing.assert_array_equal(again.voxels.features, found.voxels.features)
    np.testing.assert_array_equal(again.rows[:50], found.rows[:50][shuffled])
    assert cut._cache_size() == 1


def test_gradients_of_merged_points_are_shared_out(rng):
    points, features, batch = cloud(rng, 2, number=20)

    def sums(features, merge):
        x = voxel.voxelize(points, features, batch=batch, merge=merge, **given(2)).voxels
        return jnp.sum(jnp.sin(x.features))

    for merge in ("mean", "sum", "max"):
        check_grads(
            jax.jit(lambda f, m=merge: sums(f, m)), (features,), 2, ["rev"], atol=2e-2, rtol=2e-2
        )


def sample(rng, dims, ground, dtype=np.float32):
    rows = some_rows(rng, SPATIAL[dims], share=0.6)
    features = rng.normal(size=(len(rows), 2)).astype(dtype)
    background = np.array([0.5, -2], dtype) if ground else None
    return tensor(rows, SPATIAL[dims], features, capacity=len(rows) + 3, background=background)


@pytest.mark.parametrize("method", ["linear", "nearest"])
@pytest.mark.parametrize(("dims", "ground"), [(1, True), (2, False), (3, True), (4, False)])
def test_points_take_what_the_dense_volume_has_there(dims, ground, method, rng):
    x = sample(rng, dims, ground)
    points, _, batch = cloud(rng, dims)
    points = points[3:]  # without those that are nowhere
    batch = batch[3:]
    interpolate = functools.partial(voxel.devoxelize, lower=LOWER, edge=EDGE, method=method)
    found = jax.jit(interpolate)(x, points, batch=batch)
    place = (points - np.float32(LOWER)) * np.float32(1 / EDGE)
    still = np.zeros(2) if x.background is None else np.asarray(x.background, np.float64)
    dense = np.asarray(x.to_dense(), np.float64)
    wanted = oracle_voxel.interpolated(dense, still, place, batch, method)
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.core
def test_there_and_back(rng):
    points, features, batch = cloud(rng, 3)
    found = voxel.voxelize(points, features, batch=batch, merge="sum", **given(3))
    back = voxel.devoxelize(
        found.voxels, points, lower=LOWER, edge=EDGE, batch=batch, method="nearest"
    )
    padded = np.concatenate([found.voxels.features, np.zeros((1, 3), np.float32)])
    np.testing.assert_array_equal(back, padded[found.rows])


def test_points_that_are_nowhere_and_far_away(rng):
    x = sample(rng, 1, True)
    points = np.array([[np.nan], [np.inf], [1e30], [-1e30]], np.float32)
    linear, nearest = jax.jit(
        lambda x: [voxel.devoxelize(x, points, method=m) for m in ("linear", "nearest")]
    )(x)
    assert np.isnan(linear[:2]).all()
    np.testing.assert_array_equal(linear[2:], [[0.5, -2]] * 2)
    np.testing.assert_array_equal(nearest, [[0.5, -2]] * 4)


@pytest.mark.core
def test_gradients_of_interpolation_against_finite_differences_and_each_other(rng):
    x = sample(rng, 2, True)
    points = (LOWER + 0.3 + 1.3 * rng.random((9, 2))).astype(np.float32)
    batch = rng.integers(0, BATCH, 9).astype(np.int32)

    @jax.jit
    def total(features, background, points):
        y = voxel.devoxelize(
            x.replace(features=features, background=background),
            points, lower=LOWER, edge=EDGE, batch=batch,
        )  # fmt: skip
        return jnp.sum(jnp.sin(y))

    operands = (x.features, x.background, jnp.asarray(points))
    check_grads(total, operands, 2, ["rev"], atol=3e-2, rtol=3e-2, eps=1e-3)

    def through_the_dense_volume(features):
        dense = x.replace(features=features).to_dense()
        dense = jnp.pad(dense, ((0, 0), (1, 1), (1, 1), (0, 0)))
        dense = dense.at[:, [0, -1]].set(x.background).at[:, :, [0, -1]].set(x.background)
        place = (jnp.asarray(points) - LOWER) / EDGE + 0.5
        low = jnp.floor(place).astype(jnp.int32)
        above, y = place - low.astype(place.dtype), 0.0
        for i, j in np.ndindex(2, 2):
            w = jnp.abs(1 - i - above[:, :1]) * jnp.abs(1 - j - above[:, 1:])
            y = y + w * dense[batch, low[:, 0] + i, low[:, 1] + j]
        return jnp.sum(jnp.sin(y))

    mine = jax.grad(total)(*operands)
    np.testing.assert_allclose(mine, jax.grad(through_the_dense_volume)(x.features), atol=1e-5)


def test_vmap_bfloat16_and_a_batch_above_int32(rng):
    x = sample(rng, 2, False)
    points = rng.random((3, 5, 2)).astype(np.float32)

    def both(points):
        found = voxel.voxelize(points, jnp.ones((5, 1)), bounds=(0.0, 1.0), edge=0.5)
        return found.voxels.features, found.rows, voxel.devoxelize(x, points)

    for mapped, *each in zip(
        jax.jit(jax.vmap(both))(points), *map(jax.jit(both), points), strict=True
    ):
        np.testing.assert_allclose(mapped, np.stack(each), rtol=1e-6)
    half = x.replace(features=x.features.astype(jnp.bfloat16))
    interpolate = jax.jit(voxel.devoxelize)
    y = interpolate(half, points[0])
    assert y.dtype == jnp.bfloat16
    exact = interpolate(half.replace(features=half.features.astype(jnp.float32)), points[0])
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))
    # Four elements of 2^30 voxels: keys of the batch would not fit.
    far = np.array([[0.5, 0.5], [32767.5, 32767.5]] * 4, np.float32)
    batch = np.repeat(np.arange(4), 2).astype(np.int32)
    numbers = np.arange(8, dtype=np.float32)[:, None]
    large = voxel.voxelize(far, numbers, bounds=(0.0, 32768.0), edge=1.0, batch=batch, batch_size=4)
    back = interpolate(large.voxels, far, batch=batch)
    np.testing.assert_array_equal(back, numbers)
