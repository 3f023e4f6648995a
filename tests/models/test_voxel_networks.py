"""The sparse residual network and U-Net: sizes, one executable for a whole training step, learning."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxsparse import models, voxel

SIDE, BATCH, POINTS = 8, 2, 48


def points(seed):
    """Rows as they come from a sensor: in any order, some twice, a different number of them each time."""
    rng = np.random.default_rng(seed)
    coords = rng.integers(0, (BATCH, SIDE, SIDE, SIDE), (POINTS, 4)).astype(np.int32)
    features = rng.normal(size=(POINTS, 1)).astype(np.float32)
    return jnp.asarray(coords), jnp.asarray(features), jnp.int32(rng.integers(9, POINTS))


def tensor(coords, features, count):
    return voxel.VoxelTensor.from_coords(
        coords, features, batch_size=BATCH, spatial_shape=(SIDE,) * 3, capacity=POINTS,
        duplicates="mean", count=count,
    )  # fmt: skip


@pytest.mark.core
@pytest.mark.parametrize(("size", "millions"), [("small", 1.5), ("medium", 10.6), ("large", 61.1)])
def test_sizes_of_the_published_encoders(size, millions):
    model = nnx.eval_shape(
        lambda: models.VoxelResNet(1, **models.VOXEL_RESNET_SIZES[size], rngs=nnx.Rngs(0))
    )
    count = sum(int(np.prod(p.shape)) for p in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def training_step(model, loss_of):
    graph, state = nnx.split(model)
    optimizer = optax.sgd(0.1, momentum=0.9)
    parameters, rest = nnx.state(model, nnx.Param), nnx.state(model, nnx.Not(nnx.Param))
    del state

    def step(parameters, rest, opt_state, batch, labels):
        def loss(parameters):
            net = nnx.merge(graph, parameters, rest, copy=True)
            value = loss_of(net(tensor(*batch)), labels)
            return value, nnx.state(net, nnx.Not(nnx.Param))

        (value, rest), grads = jax.value_and_grad(loss, has_aux=True)(parameters)
        updates, opt_state = optimizer.update(grads, opt_state, parameters)
        return optax.apply_updates(parameters, updates), rest, opt_state, value

    return jax.jit(step), parameters, rest, optimizer.init(parameters)


@pytest.mark.core
def test_a_whole_training_step_is_one_executable():
    """From unsorted points on: sites, maps, forward, backward, optimiser; nothing on the host, nothing compiled again."""
    model = models.VoxelResNet(1, 3, widths=(4, 8), densities=(0.8,), rngs=nnx.Rngs(0))

    def loss_of(logits, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    step, parameters, rest, opt_state = training_step(model, loss_of)
    labels = jnp.array([0, 2])
    batches = [points(seed) for seed in range(4)]
    text = step.lower(parameters, rest, opt_state, batches[0], labels).compile().as_text()
    targets = set(re.findall(r'custom_call_target="([^"]*)"', text))
    ours = {name for name in targets if name.startswith("jaxsparse_")}
    assert {
        "jaxsparse_voxel_sort_rows",
        "jaxsparse_voxel_sites",
        "jaxsparse_voxel_kernel_map",
    } <= ours
    for word in ("callback", "infeed", "outfeed", "send(", "recv("):
        assert word not in text
    assert not any("callback" in name for name in targets)

    parameters, rest, opt_state, first = step(parameters, rest, opt_state, batches[0], labels)
    compiled = []
    listener = lambda event, duration, **_: compiled.append(event) if "compile" in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    try:
        for _ in range(6):
            for batch in batches:
                parameters, rest, opt_state, value = step(
                    parameters, rest, opt_state, batch, labels
                )
    finally:
        jax.monitoring.unregister_event_duration_listener(listener)
    assert not compiled and step._cache_size() == 1
    assert float(value) < float(first)


def test_the_unet_labels_every_site_and_learns():
    model = models.VoxelUNet(1, 2, widths=(4, 8, 8), densities=(0.9, 1.0), rngs=nnx.Rngs(0))

    def loss_of(y, labels):
        used = y.in_use()
        upper = jnp.where(used, (y.coords[:, 1] >= SIDE // 2).astype(jnp.int32), 0)
        losses = optax.softmax_cross_entropy_with_integer_labels(y.features, upper)
        return jnp.sum(jnp.where(used, losses, 0)) / jnp.sum(used.astype(jnp.float32))

    step, parameters, rest, opt_state = training_step(model, loss_of)
    batch = points(0)
    x = tensor(*batch)
    y = model(x)
    np.testing.assert_array_equal(y.coords, x.coords)
    assert y.features.shape == (POINTS, 2)
    values = []
    for _ in range(40):
        parameters, rest, opt_state, value = step(parameters, rest, opt_state, batch, None)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]


def test_every_level_has_its_sites():
    model = models.VoxelResNet(1, widths=(4, 4, 4), blocks=(1, 2, 1), rngs=nnx.Rngs(0))
    model.eval()
    stages = model.stages(tensor(*points(1)))
    assert [y.spatial_shape for y in stages] == [(8,) * 3, (4,) * 3, (2,) * 3]
    for y in stages:
        y.validate()
    assert model(tensor(*points(1))).shape == (BATCH, 4)
