"""Layers of voxels: weights of Flax's own drop in, running statistics, plans, what calibrate and report see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import direct, nn, voxel
from tests.voxel.common import BATCH, some_rows, tensor

SPATIAL = (6, 7)


def some(rng, channels=2, share=0.3, background=False):
    rows = some_rows(rng, SPATIAL, share=share)
    features = rng.normal(size=(len(rows), channels)).astype(np.float32)
    ground = rng.normal(size=channels).astype(np.float32) if background else None
    return rows, tensor(rows, SPATIAL, features, BATCH, len(rows) + 2, ground)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def at(rows, dense):
    return np.asarray(dense)[tuple(np.asarray(rows).T)]


def weights_of(source, target):
    target.kernel[...] = source.kernel[...]
    if source.bias is not None:
        source.bias[...] = jnp.linspace(-1, 1, source.bias[...].size)
        target.bias[...] = source.bias[...]


# ---- Convolutions ----------------------------------------------------------------------------------------------------


@pytest.mark.core
@pytest.mark.parametrize(
    "arguments",
    [
        {"strides": 2, "padding": "VALID"},
        {"kernel_dilation": (1, 2), "padding": ((2, 0), (1, 1)), "feature_group_count": 2},
    ],
)
def test_with_a_ground_state_the_layer_is_nnx_conv(arguments, rng):
    _, x = some(rng, 4, background=True)
    dense = nnx.Conv(4, 6, (3, 2), **{**arguments, "padding": "VALID"}, rngs=nnx.Rngs(0))
    layer = nn.VoxelConv(4, 6, (3, 2), **arguments, rngs=nnx.Rngs(1))
    weights_of(dense, layer)
    pads = arguments["padding"] if isinstance(arguments["padding"], tuple) else ((0, 0), (0, 0))
    shape = (BATCH, *(n + sum(pad) for n, pad in zip(SPATIAL, pads, strict=True)), 4)
    (top, _), (left, _) = pads
    filled = jnp.broadcast_to(x.background, shape)
    filled = filled.at[:, top : top + 6, left : left + 7].set(x.to_dense())
    close(layer(x).to_dense(), dense(filled))


def test_submanifold_transposed_and_inverse_layers(rng):
    rows, x = some(rng)
    dense = nnx.Conv(2, 3, (3, 3), rngs=nnx.Rngs(0))
    layer = nn.VoxelSubmanifoldConv(2, 3, (3, 3), rngs=nnx.Rngs(1))
    weights_of(dense, layer)
    close(layer(x).features[: len(rows)], at(rows, dense(x.to_dense())))

    dense = nnx.ConvTranspose(2, 3, (3, 2), 2, rngs=nnx.Rngs(0))
    layer = nn.VoxelConvTranspose(2, 3, (3, 2), 2, rngs=nnx.Rngs(1))
    weights_of(dense, layer)
    y = layer(x)
    found = np.asarray(y.coords)[: int(y.count)]
    close(y.features[: len(found)], at(found, dense(x.to_dense())))

    down = nn.VoxelConv(2, 3, (2, 2), 2, padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    up = nn.VoxelInverseConv(3, 2, (2, 2), 2, padding="VALID", use_bias=False, rngs=nnx.Rngs(0))
    up.kernel[...] = jnp.swapaxes(down.kernel[...], -1, -2)
    y, back = jax.vjp(lambda f: down(x.replace(features=f)).features, x.features)
    z = up(down(x).replace(features=y), onto=x)
    close(z.features, back(y)[0])  # the adjoint placement


def test_plans_of_layers(rng):
    _, x = some(rng)
    rngs = nnx.Rngs(0)
    layers = [
        nn.VoxelSubmanifoldConv(2, 4, (3, 3), rngs=rngs),
        nn.VoxelConv(4, 4, (2, 2), 2, density=0.4, rngs=rngs),
        nn.VoxelMaxPool((2, 2), density=0.5),
        nn.VoxelConvTranspose(4, 4, (2, 2), 2, capacity=11, rngs=rngs),
    ]
    maps = nn.voxel_plan(x, layers)
    # 3 x 4 voxels behind the convolution, 1 x 2 behind the pooling
    assert [m.capacity for m in maps] == [x.capacity, int(np.ceil(0.4 * 24)), 2, 11]
    y = z = x
    for layer, kernel_map in zip(layers, maps, strict=True):
        y, z = layer(y, plan=kernel_map), layer(z)
        np.testing.assert_array_equal(y.coords, z.coords)
        np.testing.assert_array_equal(y.features, z.features)
    back = [
        nn.VoxelConv(2, 4, (2, 2), 2, rngs=rngs),
        nn.VoxelInverseConv(4, 2, (2, 2), 2, rngs=rngs),
    ]
    down, up = nn.voxel_plan(x, back)
    assert back[1](back[0](x, plan=down), onto=x, plan=up).coords is x.coords


@pytest.mark.parametrize("layer", [nn.VoxelConv, nn.VoxelConvTranspose])
def test_the_layers_dtype_counts(layer, rng):
    _, x = some(rng, background=layer is nn.VoxelConv)
    y = layer(2, 3, (2, 2), 2, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))(x)
    assert y.dtype == jnp.bfloat16
    assert y.background is None or y.background.dtype == jnp.bfloat16


# ---- Norms -----------------------------------------------------------------------------------------------------------


def test_batch_norm_of_full_tensors_is_flax(rng):
    dense = jnp.asarray(rng.normal(size=(BATCH, *SPATIAL, 3)).astype(np.float32))
    x = voxel.VoxelTensor.from_dense(dense)
    ours, theirs = (c.BatchNorm(3, momentum=0.9, rngs=nnx.Rngs(0)) for c in (nn, nnx))
    for layer in (ours, theirs):
        layer.scale[...], layer.bias[...] = jnp.array([1.0, 2, 3]), jnp.array([3.0, 1, 2])
    for _ in range(2):
        close(ours(x).to_dense(), theirs(dense))
    close(ours.mean[...], theirs.mean[...])
    close(ours.var[...], theirs.var[...])
    ours.eval(), theirs.eval()
    close(ours(x).to_dense(), theirs(dense))
    for name in ("LayerNorm", "InstanceNorm"):
        ours, theirs = (getattr(c, name)(3, rngs=nnx.Rngs(0)) for c in (nn, nnx))
        close(ours(x).to_dense(), theirs(dense))
        np.testing.assert_array_equal(ours(dense), theirs(dense))


@pytest.mark.core
def test_batch_norm_carries_the_background_and_keeps_statistics_without_sites(rng):
    rows, x = some(rng, background=True)
    layer = nn.BatchNorm(2, momentum=0.5, rngs=nnx.Rngs(0))
    y = layer(x)
    features = np.asarray(x.features)[: len(rows)]
    close(layer.mean[...], features.mean(0) / 2)
    close(y.background, (x.background - features.mean(0)) / np.sqrt(features.var(0) + 1e-5))
    before = np.asarray(layer.mean[...])
    layer(tensor(np.zeros((0, 3), np.int32), SPATIAL, np.zeros((0, 2), np.float32), BATCH, 3))
    np.testing.assert_array_equal(layer.mean[...], before)


# ---- Functions -------------------------------------------------------------------------------------------------------


def test_functions_take_voxels_and_arrays(rng):
    _, x = some(rng, background=True)
    dense = x.to_dense()
    close(
        nn.max_pool(x, 3, 2, padding="VALID").to_dense(), nn.max_pool(dense, 3, 2, padding="VALID")
    )
    close(nn.avg_pool(x, 2).to_dense(), nn.avg_pool(dense, 2, padding="VALID"))
    with jax.numpy_dtype_promotion("standard"):  # Flax's own
        wanted = nnx.avg_pool(dense, (2, 2), (2, 2), "SAME")
    close(nn.avg_pool(dense, 2, padding="SAME"), wanted)
    for function in (nn.relu, nn.leaky_relu, nn.to_dense):
        close(nn.to_dense(function(x)), function(dense))
    for function in (nn.global_max_pool, nn.global_avg_pool):
        close(function(x), function(dense))
    close(nn.add(x, x).to_dense(), nn.add(dense, dense))
    close(nn.concat([x, x]).to_dense(), nn.concat([dense, dense]))
    bare = x.without_background()
    assert nn.unpool(nn.max_pool(bare, 2), bare).coords is bare.coords
    layer = nn.Dropout(0.5, broadcast_dims=(0,), rngs=nnx.Rngs(0))
    y = layer(x).to_dense() / dense
    np.testing.assert_array_equal(y, jnp.broadcast_to(y[:1, :1, :1], y.shape))


# ---- Bridges ---------------------------------------------------------------------------------------------------------


def test_bridges_between_the_containers(rng):
    dense = rng.normal(size=(BATCH, *SPATIAL, 3)) * (rng.random((BATCH, *SPATIAL, 3)) < 0.2)
    x = direct.SparseTensor.from_dense(dense.astype(np.float32), capacity=30)
    g = rng.normal(size=dense.shape).astype(np.float32)

    @jax.jit
    def run(values):
        def there(values):
            return nn.to_voxel_tensor(x.replace(values=values), 50).to_dense()

        def back(values):
            return nn.to_sparse_tensor(nn.to_voxel_tensor(x.replace(values=values), 50)).to_dense()

        return (
            there(values),
            back(values),
            jax.vjp(there, values)[1](g),
            jax.vjp(back, values)[1](g),
        )

    there, back, *gradients = run(x.values)
    np.testing.assert_array_equal(there, x.to_dense())
    np.testing.assert_array_equal(back, x.to_dense())
    (wanted,) = jax.vjp(lambda values: x.replace(values=values).to_dense(), x.values)[1](g)
    for (found,) in gradients:
        np.testing.assert_array_equal(found, wanted)
    y = nn.to_voxel_tensor(x)
    y.validate()
    assert int(y.count) == (np.asarray(x.to_dense()) != 0).any(-1).sum()


# ---- Looking ---------------------------------------------------------------------------------------------------------


class Net(nnx.Module):
    def __init__(self, densities=(None, None)):
        rngs = nnx.Rngs(0)
        self.stem = nn.VoxelSubmanifoldConv(2, 4, (3, 3), rngs=rngs)
        self.down = nn.VoxelConv(4, 4, (3, 3), 2, density=densities[0], rngs=rngs)
        self.pool = nn.VoxelMaxPool((2, 2), density=densities[1])

    def __call__(self, x):
        return self.pool(self.down(self.stem(x)))


def test_calibrate_and_report_see_the_layers(rng):
    _, x = some(rng)
    net = Net()
    densities = nn.calibrate(net, [x], headroom=1.0)
    y = net.down(net.stem(x))
    assert densities == {
        "down": pytest.approx(int(y.count) / 24), "pool": pytest.approx(int(net.pool(y).count) / 4)
    }  # fmt: skip
    bounded = Net(tuple(densities.values()))
    np.testing.assert_array_equal(bounded(x).to_dense(), net(x).to_dense())
    rows = {row.layer: row for row in nn.report(bounded, x).rows}
    assert rows["down"].capacity == rows["down"].entries == int(y.count)
    assert all(row.overflow == 0 for row in rows.values())
    assert rows["stem"].weights == 72 and rows["pool"].weights == 0
    assert rows["stem"].nbytes == net.stem(x).nbytes
    assert nn.report(net).rows[0].density is None
    str(nn.report(net))
