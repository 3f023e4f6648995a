"""Pooling of voxels: windows, whole batch elements, and the way back, with and without a ground state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import voxel
from tests import oracle_voxel, oracle_voxel_layers
from tests.voxel.common import BATCH, precision, some_rows, tensor

# (spatial shape, window, strides, padding)
CASES = {
    "1d 3/2": ((13,), 3, 2, "VALID"),
    "1d holes": ((13,), 2, 5, ((1, 2),)),
    "2d": ((6, 7), 2, None, "VALID"),
    "2d 3/2 same": ((6, 7), 3, 2, "SAME"),
    "2d uneven": ((6, 7), (1, 3), (2, 1), ((0, 0), (2, -1))),
    "3d 3/2": ((5, 6, 7), 3, 2, "VALID"),
    "4d": ((3, 4, 3, 4), (2, 3, 1, 2), (1, 2, 1, 2), "VALID"),
}
DTYPES = {"1d 3/2": jnp.bfloat16, "1d holes": np.float64, "2d": np.float16}


def whole_numbers(rng, *shape, dtype=np.float32):
    """Few different numbers, so that ties abound and sums are exact."""
    return rng.integers(-4, 4, shape).astype(dtype)


@pytest.mark.parametrize("ground", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_pools_equal_the_oracle(name, ground, rng):
    spatial, window, strides, padding = CASES[name]
    w = oracle_voxel.window(spatial, window, window if strides is None else strides, padding)
    dtype = DTYPES.get(name, np.float32)
    rows = some_rows(rng, spatial, share=0.25)
    features = whole_numbers(rng, len(rows), 2, dtype=dtype)
    background = np.array([-1, 2], dtype) if ground else None
    out_rows = oracle_voxel.reached(rows, w)
    capacity = len(out_rows) + 2
    inputs, _ = oracle_voxel.kernel_map(rows, len(rows), out_rows, capacity, w)
    g = whole_numbers(rng, capacity, 2, dtype=dtype)
    pools = (voxel.max_pool, voxel.avg_pool, voxel.sum_pool)

    @jax.jit
    def run(x, g):
        def pooled(features, background, pool):
            x_ = x.replace(features=features, background=background)
            y = pool(x_, window, strides, padding=padding, capacity=capacity)
            return y.features, y

        found = []
        for pool in pools:
            _, back, y = jax.vjp(
                lambda f, b, p=pool: pooled(f, b, p), x.features, x.background, has_aux=True
            )
            found.append((y, *back(g)))
        return found

    with precision(dtype):
        x = tensor(rows, spatial, features, capacity=len(rows) + 3, background=background)
        results = run(x, jnp.asarray(g))
        scale = {"max": 1, "sum": 1}
        for kind, (y, gx, gb) in zip(("max", "avg", "sum"), results, strict=True):
            wanted, source = oracle_voxel_layers.pool(rows, features, out_rows, w, kind, background)
            np.testing.assert_array_equal(y.coords, oracle_voxel.listed(out_rows, BATCH, capacity))
            assert int(y.count) == len(out_rows) and y.spatial_shape == w.out_shape
            close = {"rtol": 4 * float(jnp.finfo(dtype).eps)} if kind == "avg" else {"rtol": 0}
            np.testing.assert_allclose(
                np.asarray(y.features, np.float64)[: len(out_rows)], wanted, **close
            )
            assert not np.asarray(y.features)[len(out_rows) :].any()
            wanted_gx, wanted_gb = np.zeros((len(rows) + 3, 2)), np.zeros(2)
            taps = inputs.shape[0]
            for m in range(len(out_rows)):
                here = [n for n in inputs[:, m] if n < len(rows)]
                for c in range(2):
                    if kind == "max":
                        n = source[m, c]
                        wanted_gx[n, c] += g[m, c] if n >= 0 else 0
                        wanted_gb[c] += g[m, c] if n < 0 else 0
                        continue
                    divisor = scale.get(kind, taps if ground else len(here))
                    wanted_gx[here, c] += float(g[m, c]) / divisor
                    wanted_gb[c] += float(g[m, c]) * (taps - len(here)) / divisor
            loose = 8 * float(jnp.finfo(dtype).eps)
            np.testing.assert_allclose(
                np.asarray(gx, np.float64), wanted_gx, rtol=loose, atol=loose
            )
            if ground:
                loose *= len(out_rows)  # XLA adds in the dtype of the background
                np.testing.assert_allclose(
                    np.asarray(gb, np.float64), wanted_gb, rtol=loose, atol=loose
                )
                factor = taps if kind == "sum" else 1
                np.testing.assert_array_equal(y.background, background * dtype(factor))


@pytest.mark.core
def test_the_whole_tensor_equals_dense_pooling(rng):
    """With a ground state, by XLA's own windows: 3/2 twice, padded with the background."""
    spatial = (9, 8)
    rows = some_rows(rng, spatial, share=0.1)
    features = rng.normal(size=(len(rows), 3)).astype(np.float32)
    background = np.array([-0.5, 0.3, 0], np.float32)
    x = tensor(rows, spatial, features, background=background)
    y = voxel.avg_pool(voxel.max_pool(x, 3, 2, padding="SAME"), 3, 2)

    dense = jnp.asarray(x.to_dense())
    padded = jnp.broadcast_to(jnp.asarray(background), (BATCH, 11, 11, 3))
    padded = padded.at[:, 1 : 1 + spatial[0], 1 : 1 + spatial[1]].set(dense)
    # SAME: 9 voxels are padded by 1 and 1, 8 by 0 and 1.
    padded = padded[:, :11, 1:10]
    size, step = (1, 3, 3, 1), (1, 2, 2, 1)
    z = jax.lax.reduce_window(padded, -jnp.inf, jax.lax.max, size, step, "VALID")
    np.testing.assert_array_equal(voxel.max_pool(x, 3, 2, padding="SAME").to_dense(), z)
    z = jax.lax.reduce_window(z, 0.0, jax.lax.add, size, step, "VALID") / 9
    np.testing.assert_allclose(y.to_dense(), z, rtol=1e-6, atol=1e-7)


def test_nan_is_the_maximum_and_infinity_passes():
    x = tensor(
        np.array([[0, 0], [0, 1], [0, 4]]), (6,), np.array([[np.inf], [np.nan], [1]], np.float32), 1
    )
    y = voxel.max_pool(x, 2)
    np.testing.assert_array_equal(y.features.ravel(), [np.nan, 1, 0][: y.capacity])
    ground = voxel.max_pool(x.replace(background=jnp.full(1, jnp.nan)), 2)
    np.testing.assert_array_equal(ground.features.ravel()[:2], [np.nan, np.nan])


def test_what_does_not_fit_is_cut_and_counted(rng):
    rows = some_rows(rng, (13,), share=0.9)
    x = tensor(rows, (13,), whole_numbers(rng, len(rows), 1))
    whole, cut = voxel.max_pool(x, 2), voxel.max_pool(x, 2, capacity=3)
    assert int(cut.count) == int(whole.count) > 3
    np.testing.assert_array_equal(cut.features, whole.features[:3])


@pytest.mark.core
@pytest.mark.parametrize("ground", [False, True])
def test_global_pools(ground, rng):
    """A batch element without sites, one that is full, one in between."""
    spatial, batch = (3, 4), 3
    rows = np.array([[0, 1, 2], [0, 2, 3], *([2, *at] for at in np.ndindex(spatial))], np.int32)
    features = whole_numbers(rng, len(rows), 4) - 5
    background = np.array([-20, 3, 0, -7], np.float32) if ground else None
    x = tensor(rows, spatial, features, batch, len(rows) + 2, background)

    @jax.jit
    def run(x):
        def both(features, background):
            y = x.replace(features=features, background=background)
            return voxel.global_max_pool(y), voxel.global_avg_pool(y)

        y, back = jax.vjp(both, x.features, x.background)
        return (
            y,
            back((jnp.ones_like(y[0]), jnp.zeros_like(y[1]))),
            back((jnp.zeros_like(y[0]), jnp.ones_like(y[1]))),
        )

    (largest, mean), (gx, gb), (ax, ab) = run(x)
    for found, kind in ((largest, "max"), (mean, "avg")):
        wanted = oracle_voxel_layers.global_pool(rows, features, batch, spatial, kind, background)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    for b in range(batch):
        mine = np.flatnonzero(rows[:, 0] == b)
        for c in range(4):
            still = (
                ground
                and (len(mine) < 12)
                and not (len(mine) and features[mine, c].max() >= background[c])
            )
            first = mine[features[mine, c].argmax()] if len(mine) and not still else None
            assert all(float(gx[n, c]) == (n == first) for n in mine)
    divisor = {b: 12 if ground else max(1, (rows[:, 0] == b).sum()) for b in range(batch)}
    np.testing.assert_allclose(ax[: len(rows), 0], [1 / divisor[b] for b in rows[:, 0]], rtol=1e-6)
    if ground:
        assert float(gb.sum() + gx.sum()) == batch * 4
        np.testing.assert_allclose(ab, np.full(4, 10 / 12 + 1), rtol=1e-6)


def test_unpool_is_the_way_back(rng):
    for spatial, strides, padding in (
        ((6, 7), 2, "VALID"),
        ((6, 7), (3, 2), "SAME"),
        ((5, 4, 3), 2, "VALID"),
    ):
        w = oracle_voxel.window(spatial, strides, strides, padding)
        rows = some_rows(rng, spatial, share=0.4)
        x = tensor(rows, spatial, whole_numbers(rng, len(rows), 2), capacity=len(rows) + 2)
        coarse = voxel.max_pool(x, strides, padding=padding)
        out_rows = oracle_voxel.reached(rows, w)
        y, back = jax.vjp(
            lambda f, x=x, c=coarse, p=padding: (
                voxel.unpool(c.replace(features=f), x, padding=p).features
            ),
            coarse.features,
        )
        used = len(out_rows)
        wanted = oracle_voxel_layers.unpool(out_rows, np.asarray(coarse.features)[:used], rows, w)
        np.testing.assert_array_equal(y[: len(rows)], wanted)
        (gx,) = back(jnp.ones_like(y))
        counts = np.asarray(
            voxel.sum_pool(
                x.replace(features=jnp.ones_like(x.features)), strides, padding=padding
            ).features
        )
        np.testing.assert_array_equal(gx, counts)


def test_a_plan_serves_every_pooling(rng):
    rows = some_rows(rng, (9, 8))
    x = tensor(rows, (9, 8), whole_numbers(rng, len(rows), 2))
    layers = [voxel.Layer("max_pool", 3, 2), voxel.Layer("avg_pool", 2), voxel.Layer("unpool", 2)]
    first, second, back = voxel.plan(x, layers)
    y = voxel.max_pool(x, 3, 2, plan=first)
    z = voxel.avg_pool(y, 2, plan=second)
    up = voxel.unpool(z, y, 2, plan=back)
    np.testing.assert_array_equal(
        up.features, voxel.unpool(voxel.avg_pool(voxel.max_pool(x, 3, 2), 2), y, 2).features
    )
    with pytest.raises(ValueError, match="plan must be for a batch"):
        voxel.max_pool(x, 2, plan=first)
