"""Activations, dropout, merging and normalisation of voxels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import voxel
from tests import oracle_voxel_layers
from tests.voxel.common import BATCH, precision, some_rows, tensor

SPATIAL = (5, 6)
DTYPES = (np.float32, np.float64, jnp.bfloat16, np.float16)


def some(rng, share=0.3, channels=3, dtype=np.float32, background=False, spare=2, values=None):
    rows = some_rows(rng, SPATIAL, share=share)
    features = (rng.normal(size=(len(rows), channels)) if values is None else values).astype(dtype)
    ground = rng.normal(size=channels).astype(dtype) if background else None
    return rows, features, tensor(rows, SPATIAL, features, BATCH, len(rows) + spare, ground)


def close(found, wanted, dtype=np.float32):
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(found, np.float64), wanted, rtol=8 * eps, atol=8 * eps)


# ---- Activations and dropout -----------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_are_the_dense_ones(dtype, rng):
    with precision(dtype):
        _, _, x = some(rng, dtype=dtype, background=True)
        dense = x.to_dense()
        np.testing.assert_array_equal(voxel.relu(x).to_dense(), jax.nn.relu(dense))
        slope = np.asarray(dense, np.float64) * 0.33
        leaky = voxel.leaky_relu(x, 0.33)
        close(leaky.to_dense(), np.where(np.asarray(dense, np.float64) < 0, slope, dense), dtype)
        np.testing.assert_array_equal(voxel.apply(x, jnp.exp).to_dense(), jnp.exp(dense))
        for y in (voxel.relu(x), leaky, voxel.apply(x, jnp.exp)):
            y.validate()
            assert y.dtype == dtype and y.background is not None


def test_without_ground_state_inactive_sites_stay_0(rng):
    _, _, x = some(rng)
    y = voxel.apply(x, jnp.cos)
    assert not np.asarray(y.features)[~np.asarray(y.in_use())].any()
    assert y.background is None


def test_nan_passes_activations():
    x = tensor(np.array([[0, 0]]), (2,), np.array([[np.nan]], np.float32), 1)
    assert np.isnan(voxel.relu(x).features).all() and np.isnan(voxel.leaky_relu(x).features).all()


@pytest.mark.core
def test_dropout(rng):
    _, _, x = some(rng, background=True, values=np.ones((1, 1)), channels=1)
    x = x.replace(
        features=jnp.where(x.in_use()[:, None], jnp.ones((x.capacity, 64)), 0),
        background=jnp.ones(64),
    )
    y = voxel.dropout(x, 0.25, jax.random.key(0))
    used = np.asarray(x.in_use())
    values, counts = np.unique(np.asarray(y.features)[used], return_counts=True)
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
    assert 0.18 < counts[0] / counts.sum() < 0.32
    assert not np.asarray(y.features)[~used].any()
    np.testing.assert_array_equal(y.background, x.background)
    whole = voxel.dropout(x, 0.25, jax.random.key(0), by_channel=True)
    np.testing.assert_array_equal(whole.to_dense(), jnp.broadcast_to(whole.background, whole.shape))
    assert 0 < int((whole.background == 0).sum()) < 40
    assert not np.asarray(voxel.dropout(x, 1.0, jax.random.key(0)).features).any()
    grad = jax.grad(
        lambda f: jnp.sum(voxel.dropout(x.replace(features=f), 0.25, jax.random.key(0)).features)
    )(x.features)
    np.testing.assert_array_equal(grad[used], y.features[used])


# ---- Merging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("capacity", [None, 9])
def test_add_and_concat_join_sites(ground, capacity, rng):
    lists, tensors = [], []
    for channels in (2, 2, 3):
        rows, features, x = some(rng, channels=channels, background=ground)
        lists.append((rows, features, None if x.background is None else np.asarray(x.background)))
        tensors.append(x)
    rows, features = oracle_voxel_layers.merged(lists, BATCH, SPATIAL)
    y = voxel.concat(tensors, capacity)
    kept = len(rows) if capacity is None else capacity
    assert int(y.count) == len(rows)
    np.testing.assert_array_equal(np.asarray(y.coords)[:kept], rows[:kept])
    np.testing.assert_array_equal(np.asarray(y.features)[:kept], np.concatenate(features, 1)[:kept])
    rows, features = oracle_voxel_layers.merged(lists[:2], BATCH, SPATIAL)
    z = voxel.add(*tensors[:2], capacity)
    kept = len(rows) if capacity is None else capacity
    np.testing.assert_array_equal(np.asarray(z.coords)[:kept], rows[:kept])
    np.testing.assert_array_equal(np.asarray(z.features)[:kept], (features[0] + features[1])[:kept])
    if capacity is None:
        for one in (y, z):
            one.validate()
        np.testing.assert_array_equal(z.to_dense(), tensors[0].to_dense() + tensors[1].to_dense())


@pytest.mark.core
def test_lists_of_one_coords_array_are_not_merged(rng):
    _, _, x = some(rng, background=True)
    y = x.replace(features=2 * x.features)
    text = jax.jit(lambda a, b: voxel.add(x.replace(features=a), x.replace(features=b)).features)
    assert "sort_rows" not in text.lower(x.features, y.features).as_text()
    assert voxel.add(x, y).coords is x.coords and voxel.concat([x, y]).coords is x.coords
    np.testing.assert_array_equal(voxel.add(x, y).features, 3 * x.features)
    other = y.replace(coords=x.coords + 0)
    np.testing.assert_array_equal(voxel.add(x, other).to_dense(), voxel.add(x, y).to_dense())


# ---- Normalisation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_equal_the_oracle(dtype, rng):
    with precision(dtype):
        rows, features, x = some(rng, dtype=dtype, background=True)
        wide = np.float64 if dtype == np.float64 else np.float32
        scale, bias = (rng.normal(size=3).astype(wide) for _ in range(2))
        used = len(rows)
        wanted, mean, var = oracle_voxel_layers.batch_norm(features)
        y = voxel.batch_norm(x, scale, bias)
        close(y.features[:used], wanted * scale + bias, dtype)
        ground = np.asarray(x.background, np.float64)
        close(y.background, (ground - mean) / np.sqrt(var + 1e-5) * scale + bias, dtype)
        found = voxel.batch_statistics(x)
        close(found.mean, mean, wide)
        close(found.var, var, wide)
        assert float(found.sites) == used and found.mean.dtype == wide
        y.validate()
        z = voxel.layer_norm(x, scale, bias)
        close(z.features[:used], oracle_voxel_layers.layer_norm(features) * scale + bias, dtype)
        close(z.background, oracle_voxel_layers.layer_norm(ground) * scale + bias, dtype)
        z.validate()
        bare = x.without_background()
        close(
            voxel.instance_norm(bare, scale, bias).features[:used],
            oracle_voxel_layers.instance_norm(rows, features, BATCH) * scale + bias,
            dtype,
        )
        assert {y.dtype, z.dtype} == {jnp.dtype(dtype)}


def test_no_site_at_all():
    x = tensor(np.zeros((0, 3), np.int32), SPATIAL, np.zeros((0, 2), np.float32), BATCH, 4)
    for y in (
        voxel.batch_norm(x, bias=jnp.ones(2)),
        voxel.layer_norm(x),
        voxel.instance_norm(x),
        voxel.max_pool(x, 2),
    ):
        assert not np.asarray(y.features).any() and int(y.count) == 0
    assert [float(v.sum()) for v in voxel.batch_statistics(x)] == [0, 0, 0]
    assert not np.asarray(voxel.global_max_pool(x)).any()
    ground = x.replace(background=jnp.array([2.0, 3]))
    np.testing.assert_array_equal(voxel.global_avg_pool(ground), [[2, 3]] * BATCH)


@pytest.mark.core
def test_statistics_over_devices(rng):
    """Two lists, one a device, normalised as one batch."""
    lists = [some(np.random.default_rng(i), spare=60)[2] for i in range(2)]
    size = min(x.capacity for x in lists)
    stacked = jax.tree.map(lambda *a: jnp.stack([v[:size] if v.ndim else v for v in a]), *lists)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")

    def step(x):
        x = jax.tree.map(lambda a: a[0], x)
        return voxel.batch_norm(x, axis_name="data").features[None]

    found = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=spec))(stacked)
    every = [np.asarray(x.features)[np.asarray(x.in_use())] for x in lists]
    wanted, _, _ = oracle_voxel_layers.batch_norm(np.concatenate(every))
    close(found[0][: len(every[0])], wanted[: len(every[0])])
    close(found[1][: len(every[1])], wanted[len(every[0]) :])
