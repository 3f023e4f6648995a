"""The container: from points and dense volumes, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxsparse import voxel
from jaxsparse.voxel import VoxelTensor
from tests import oracle_voxel
from tests.voxel.common import BATCH, precision, some_rows, tensor

pytestmark = pytest.mark.core

SPATIAL = (3, 4)


def points(rng, number, dtype=np.float32, channels=3):
    """Rows in any order and with repetitions."""
    coords = np.stack([rng.integers(0, n, number) for n in (BATCH, *SPATIAL)], axis=1)
    return coords.astype(np.int32), rng.normal(size=(number, channels)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16, np.float16, np.float64])
@pytest.mark.parametrize("duplicates", ["sum", "mean", "max"])
@pytest.mark.parametrize("capacity", [None, 5])
def test_from_coords(duplicates, dtype, capacity, rng):
    coords, features = points(rng, 30, dtype)
    features[3:5, 0] = np.nan
    features[7, 1] = np.inf
    with precision(dtype):
        x = VoxelTensor.from_coords(
            coords, features, batch_size=BATCH, spatial_shape=SPATIAL, capacity=capacity,
            duplicates=duplicates,
        )  # fmt: skip
        wanted = oracle_voxel.from_coords(coords, features, BATCH, SPATIAL, capacity, duplicates)
        np.testing.assert_array_equal(x.coords, wanted[0])
        np.testing.assert_array_equal(np.float64(x.features), np.float64(wanted[1]))
        assert int(x.count) == wanted[2]
        assert x.dtype == dtype and x.capacity == (24 if capacity is None else capacity)
        if not np.isnan(np.asarray(x.features, np.float32)).any():
            x.validate()


def test_the_order_of_distinct_rows_does_not_matter(rng):
    rows = some_rows(rng, SPATIAL, share=0.6)
    features = rng.normal(size=(len(rows), 2)).astype(np.float32)
    wanted = tensor(rows, SPATIAL, features)
    for _ in range(4):
        order = rng.permutation(len(rows))
        x = VoxelTensor.from_coords(
            rows[order], features[order], batch_size=BATCH, spatial_shape=SPATIAL
        )
        for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_array_equal(a, b)


def test_padding_rows_and_rows_out_of_range(rng):
    """`count` may be traced; inside jit rows out of range are dropped, outside they are an error."""
    coords, features = points(rng, 20)
    coords[2, 0], coords[5, 1], coords[9, 2] = -1, SPATIAL[0], 2**31 - 1

    @jax.jit
    def build(coords, features, count):
        return VoxelTensor.from_coords(
            coords, features, batch_size=BATCH, spatial_shape=SPATIAL, count=count
        )

    for count in (0, 1, 12, 20, 33, -4):
        x = build(coords, features, count)
        wanted = oracle_voxel.from_coords(coords, features, BATCH, SPATIAL, 20 if 20 < 24 else 24, "sum", max(count, 0))  # fmt: skip
        np.testing.assert_array_equal(x.coords, wanted[0])
        np.testing.assert_array_equal(x.features, wanted[1])
        assert int(x.count) == wanted[2]
    with pytest.raises(ValueError, match=r"coords must be inside .*, got \[-1, .*\] in row 2"):
        VoxelTensor.from_coords(
            coords, features, batch_size=BATCH, spatial_shape=SPATIAL, duplicates="sum"
        )
    build_two = VoxelTensor.from_coords(
        coords, features, batch_size=BATCH, spatial_shape=SPATIAL, duplicates="sum", count=2
    )
    assert int(build_two.count) <= 2
    wide = coords.astype(np.int64)
    wide[2] = (2**32, 0, 0)  # would wrap around to 0
    with pytest.raises(ValueError, match="in row 2"):
        VoxelTensor.from_coords(wide, features, batch_size=BATCH, spatial_shape=SPATIAL)


def test_duplicates_are_an_error_that_names_them():
    coords = [[0, 1, 1], [0, 2, 2], [0, 1, 1]]
    arguments = {"batch_size": 1, "spatial_shape": SPATIAL}
    with pytest.raises(ValueError, match=r"free of duplicates .* got \[0, 1, 1\] in rows 0 and 2"):
        VoxelTensor.from_coords(coords, np.ones((3, 1), np.float32), **arguments)
    inside = jax.jit(lambda c, f: VoxelTensor.from_coords(c, f, **arguments))
    x = inside(jnp.asarray(coords), jnp.ones((3, 1)))
    assert x.features.ravel().tolist() == [2, 1, 0]


@pytest.mark.parametrize("number", [0, 1])
def test_no_point_and_one(number):
    coords, features = np.zeros((number, 3), np.int32), np.ones((number, 2), np.float32)
    x = VoxelTensor.from_coords(coords, features, batch_size=1, spatial_shape=SPATIAL).validate()
    assert int(x.count) == number and x.capacity == 1
    assert float(x.to_dense().sum()) == 2 * number


@given(st.data())
def test_points_in_any_order(data):
    """Against the oracle, with one executable for each rule."""
    number = data.draw(st.integers(0, 12))
    draw = st.tuples(st.integers(-1, BATCH), *(st.integers(-1, n) for n in SPATIAL))
    rows = data.draw(st.lists(draw, min_size=12, max_size=12))
    values = data.draw(st.lists(st.floats(width=32), min_size=12, max_size=12))
    rule = data.draw(st.sampled_from(["sum", "mean", "max"]))
    coords, features = np.array(rows, np.int32), np.array(values, np.float32)[:, None]
    x = _build(coords, features, number, rule)
    wanted = oracle_voxel.from_coords(coords, features, BATCH, SPATIAL, 7, rule, number)
    np.testing.assert_array_equal(x.coords, wanted[0])
    np.testing.assert_array_equal(x.features, wanted[1])
    assert int(x.count) == wanted[2]


def _built(coords, features, count, duplicates):
    return VoxelTensor.from_coords(
        coords, features, batch_size=BATCH, spatial_shape=SPATIAL, capacity=7, count=count,
        duplicates=duplicates,
    )  # fmt: skip


_build = jax.jit(_built, static_argnums=3)


# ---- Dense -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 4), (2, 3, 2, 3)])
def test_dense_and_back(spatial, ground, rng):
    background = np.array([0.5, -1.0], np.float32) if ground else None
    rows = some_rows(rng, spatial, share=0.4)
    features = rng.normal(size=(len(rows), 2)).astype(np.float32)
    x = tensor(rows, spatial, features, capacity=len(rows) + 3, background=background)
    dense = oracle_voxel.to_dense(rows, features, BATCH, spatial, background)
    np.testing.assert_array_equal(x.to_dense(), dense)
    back = VoxelTensor.from_dense(dense, capacity=x.capacity, background=background)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(x), strict=True):
        np.testing.assert_array_equal(a, b)
    few = VoxelTensor.from_dense(dense, capacity=2, background=background)
    np.testing.assert_array_equal(few.coords, rows[:2])
    assert int(few.count) == len(rows) and int(few.overflow) == len(rows) - 2
    assert VoxelTensor.from_dense(dense, background=background).capacity == BATCH * np.prod(spatial)


def test_what_is_active_in_a_dense_volume():
    """NaN is, subnormal numbers are, -0 is not."""
    values = np.array([0.0, -0.0, 1e-45, np.nan, 2.0], np.float32).reshape(1, 5, 1)
    for build in (VoxelTensor.from_dense, jax.jit(VoxelTensor.from_dense)):
        x = build(values)
        assert x.coords[: int(x.count), 1].tolist() == [2, 3, 4]
    x = VoxelTensor.from_dense(values, background=np.array([2.0], np.float32))
    assert x.coords[: int(x.count), 1].tolist() == [0, 1, 2, 3]
    x = VoxelTensor.from_dense(values, background=np.array([np.nan], np.float32))
    assert int(x.count) == 5


def test_gradients(rng):
    """Of features and background, through points, dense volumes and back."""
    coords, features = points(rng, 12)
    weight = jnp.asarray(rng.normal(size=(BATCH, *SPATIAL, 3)), jnp.float32)

    def loss(features, background, rule):
        x = VoxelTensor.from_coords(
            coords, features, batch_size=BATCH, spatial_shape=SPATIAL, duplicates=rule,
            background=background, capacity=6,
        )  # fmt: skip
        return jnp.sum(x.to_dense() * weight)

    sites = {tuple(row): n for n, row in enumerate(sorted({tuple(r) for r in coords.tolist()})[:6])}
    members = np.bincount([sites[tuple(r)] for r in coords.tolist() if tuple(r) in sites])
    for rule in ("sum", "mean", "max"):
        by_features, by_background = jax.grad(loss, (0, 1))(jnp.asarray(features), jnp.ones(3), rule)  # fmt: skip
        wanted = np.zeros_like(features)
        for n, row in enumerate(map(tuple, coords.tolist())):
            if row not in sites:
                continue
            wanted[n] = weight[row]
            if rule == "mean":
                wanted[n] /= members[sites[row]]
            if rule == "max":
                several = features[[tuple(r) == row for r in coords.tolist()]]
                wanted[n] *= features[n] == several.max(axis=0)
        np.testing.assert_allclose(by_features, wanted, rtol=1e-6)
        inactive = np.ones((BATCH, *SPATIAL), bool)
        for row in sites:
            inactive[row] = False
        np.testing.assert_allclose(by_background, np.asarray(weight)[inactive].sum(0), rtol=1e-5)
        # Linear (or piecewise so): the gradient's own gradient is the weight's.
        again = jax.grad(lambda f, r=rule: jnp.sum(jax.grad(loss)(f, jnp.ones(3), r) ** 3))
        assert not np.any(np.asarray(again(jnp.asarray(features))))

    def dense_loss(dense, background):
        return jnp.sum(VoxelTensor.from_dense(dense, background=background).to_dense() * weight)

    dense = jnp.asarray(rng.normal(size=weight.shape), jnp.float32).at[0, 1].set(2.0)
    by_dense, by_background = jax.grad(dense_loss, (0, 1))(dense, jnp.full(3, 2.0))
    wanted = np.asarray(weight).copy()
    wanted[0, 1] = 0
    np.testing.assert_array_equal(by_dense, wanted)
    np.testing.assert_allclose(by_background, np.asarray(weight)[0, 1].sum(0), rtol=1e-6)


# ---- The container itself ------------------------------------------------------------------------------------------------


def test_properties_and_pytree(rng):
    rows = some_rows(rng, SPATIAL)
    x = tensor(rows, SPATIAL, np.ones((len(rows), 3), np.float32), capacity=len(rows) + 1)
    assert x.shape == (BATCH, *SPATIAL, 3) and x.channels == 3 and x.volume == 12
    assert x.nbytes == 4 * (3 * x.capacity + 3 * x.capacity + 1)
    assert int(x.stored) == len(rows) and int(x.overflow) == 0
    np.testing.assert_allclose(x.density, len(rows) / 24, rtol=1e-6)
    y = jax.jit(lambda x: x.replace(features=x.features * 2))(x)
    assert isinstance(y, VoxelTensor) and y.spatial_shape == SPATIAL and y.batch_size == BATCH
    ground = x.replace(background=jnp.ones(3))
    assert "with background" in repr(ground) and ground.without_background().background is None
    assert len(jax.tree.leaves(ground)) == 4 and len(jax.tree.leaves(x)) == 3
    assert "VoxelTensor(coords=" in repr(jax.tree.map(lambda _: None, x))
    assert voxel.VoxelTensor is VoxelTensor


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"coords": [[0, 1, 1], [0, 0, 0], [2, 0, 0]]}, "strictly ascending, got"),
        ({"coords": [[0, 1, 1], [0, 1, 1], [2, 0, 0]]}, "strictly ascending, got"),
        ({"coords": [[0, 1, 9], [1, 1, 1], [2, 0, 0]]}, "inside .* got"),
        ({"coords": [[0, 1, 1], [1, 1, 1], [2, 0, 1]]}, "in unused rows"),
        ({"coords": [[0, 1, 1], [1, 1, 1], [3, 0, 0]]}, "in unused rows"),
        ({"count": 3}, "count must be 2"),
        ({"features": [[1.0], [1.0], [1.0]]}, "0 in unused rows"),
    ],
)
def test_validate(change, match):
    rows = np.array([[0, 1, 1], [1, 1, 1]], np.int32)
    x = tensor(rows, SPATIAL, capacity=3)
    assert x.validate() is x
    change = {k: jnp.asarray(v, getattr(x, k).dtype) for k, v in change.items()}
    with pytest.raises(ValueError, match=match):
        x.replace(**change).validate()
