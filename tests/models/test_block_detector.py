"""BlockDetector and its layers: the dense twin inside active tiles; sizes; a mask network in front."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxsparse import models, nn
from jaxsparse.models.block_layers import PreActivation, Upsample
from tests.block.common import normal
from tests.nn.block_kit import assert_trees_close, some_blocks, unsettled

SHAPE = (21, 26)  # then 11 x 13, 6 x 7
SMALL = {
    "stem_features": (3, 4),
    "features": (8, 12),
    "units": (1, 2),
    "neck_features": 5,
    "upsample_features": (4,),
    "classes": 2,
    "block_sizes": (13, 9, 7),
}


def small(rng, **options):
    return unsettled(models.BlockDetector(3, **(SMALL | options), rngs=nnx.Rngs(0)), rng)


def options_of_layers():
    shared = {"rngs": nnx.Rngs(0)}
    return {"conv": shared, "norm": {**shared, "use_fast_variance": False}}


def test_pre_activation_is_dense_inside(rng):
    layer = unsettled(PreActivation(3, (4, 2), (3, 3), **options_of_layers()), rng)
    layer.eval()
    x = jnp.asarray(normal(rng, 2, 9, 12, 3))
    blocks, inside = some_blocks(layer.geometry((9, 12), 6), 2, rng, 0.5)
    for y, dense, background in zip(
        layer(x, blocks, (-3.0, 0.5)), layer(x), (-3, 0.5), strict=True
    ):
        wanted = np.where(inside, dense, background)
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(10, 12), (9, 11)])
def test_upsampling_is_the_transposed_convolution(rng, shape):
    coarse = tuple(-(-n // 2) for n in shape)
    layer = unsettled(Upsample(3, 2, 4, **options_of_layers()), rng)
    layer.eval()
    x, skip = jnp.asarray(normal(rng, 2, *coarse, 3)), jnp.asarray(normal(rng, 2, *shape, 2))
    blocks, inside = some_blocks(layer.geometry(coarse, 3), 2, rng, 0.5)

    @jax.jit
    def run(x, skip):
        up = jax.lax.conv_transpose(
            jax.nn.relu(layer.norm(x)),
            layer.conv.kernel[...],
            (2, 2),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        lateral = layer.skip_conv(jax.nn.relu(layer.skip_norm(skip)))
        wanted = up[:, : shape[0], : shape[1]] + lateral
        return wanted, layer(x, skip), layer(x, skip, blocks)

    wanted, dense, sparse = run(x, skip)
    np.testing.assert_allclose(dense, wanted, rtol=1e-5, atol=1e-5)
    inside = inside.repeat(2, 1).repeat(2, 2)[:, : shape[0], : shape[1]]
    np.testing.assert_allclose(sparse, np.where(inside, wanted, 0), rtol=1e-5, atol=1e-5)


def test_twins_agree_at_masks_of_ones(rng):
    """In training: results and running statistics are those of the dense twin."""
    graph, state = nnx.split(small(rng))
    x = jnp.asarray(normal(rng, 2, *SHAPE, 3))
    mask = jnp.ones((2, 6, 7), bool)  # at a quarter of the resolution

    @jax.jit
    def both(state, x, mask):
        results = []
        for sparse in (True, False):
            model = nnx.merge(graph, state, copy=True)
            y = model(x, model.blocks(mask, SHAPE) if sparse else None)
            results.append((y, nnx.state(model, nnx.BatchStat)))
        return results

    found, wanted = both(state, x, mask)
    assert {name: y.shape for name, y in found[0].items()} == {
        "classes": (2, 11, 13, 2), "boxes": (2, 11, 13, 4), "orientations": (2, 11, 13, 2),
    }  # fmt: skip
    assert_trees_close(found, wanted, 1e-3, 1e-3)


def test_densities_of_typical_masks(rng):
    """What they need is what the lists then hold, no more; each list has a density of its own."""
    masks = jnp.zeros((2, 20, 24), bool).at[0, :6, 3:9].set(True).at[1, 10, 10].set(True)
    free = small(rng)
    found = free.densities(masks, (20, 24), headroom=1.0)
    fitted = small(rng, density=found)
    assert min(found.values()) < 0.3 and max(found.values()) <= 1
    for image in masks:
        wanted = free.blocks(image[None], (20, 24))
        for name, blocks in fitted.blocks(image[None], (20, 24)).items():
            assert int(blocks.overflow) == 0 and int(blocks.count) == int(wanted[name].count)
            assert blocks.capacity == round(found[name] * wanted[name].capacity)
    assert free.densities(jnp.zeros((1, 20, 24)), (20, 24))["stem"] > 0  # a list has a row


def test_a_small_mask_and_a_mask_network_end_to_end(rng):
    detector = small(rng, density=0.5, background=-7.0)
    network = models.PSPNet(
        3, downsample=4, features=(4, 8), units=(1, 1), strides=(1, 2), kernel_dilations=(1, 2),
        bins=(1, 2), rngs=nnx.Rngs(0),
    )  # fmt: skip
    unsettled(network, rng)
    detector.eval()
    network.eval()
    x = jnp.asarray(normal(rng, 1, *SHAPE, 3))
    assert network(x).shape == (1, 6, 7)
    graph, state, rest = nnx.split(network, nnx.Param, ...)

    @jax.jit
    def step(state, x):
        def loss(state):
            scores = jax.nn.sigmoid(nnx.merge(graph, state, rest)(x))
            mask = nn.straight_through_mask(scores)
            lists = detector.blocks(mask, SHAPE)
            y = detector(x, lists, gate=mask)
            return jnp.mean(jnp.sin(y["classes"])), (lists, mask, y)

        return jax.value_and_grad(loss, has_aux=True)(state)

    (_, (lists, mask, _)), gradient = step(state, x)
    assert set(lists) == set(detector.geometries(SHAPE))
    for name, (_, geometry) in detector.geometries(SHAPE).items():
        assert lists[name].geometry == geometry
        assert lists[name].capacity == max(1, -(-geometry.blocks // 2))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert mask.any() and int(lists["heads"].count) > 0
    assert any(leaf.any() for leaf in leaves)  # a unit may be dead

    # A mask of one corner: outside of active tiles the scores are the background.
    corner = jnp.zeros((1, *SHAPE), bool).at[0, :4, :4].set(True)
    infer = jax.jit(lambda x, mask: detector(x, detector.blocks(mask, SHAPE)))
    y = infer(x, corner)
    tile = detector.geometries(SHAPE)["heads"][1].tile_size
    far = np.ones((11, 13), bool)
    far[: tile[0], : tile[1]] = False
    assert (np.asarray(y["classes"])[0, far] == -7).all() and not np.asarray(y["boxes"])[
        0, far
    ].any()
    assert (np.asarray(y["classes"])[0, ~far] != -7).all()


def count(make):
    state = nnx.state(nnx.eval_shape(make), nnx.Param)
    return sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(state))


def unit(n, middle, out, projection):
    convs = n * middle + 9 * middle**2 + middle * out + projection * n * out
    return convs + 2 * (n + 2 * middle)


def test_parameters_of_the_papers_size():
    stem = 9 * 33 * 32 + 9 * 32 * 32 + 2 * 32
    stages = (
        unit(32, 24, 96, True) + 2 * unit(96, 24, 96, False)
        + unit(96, 48, 192, True) + 5 * unit(192, 48, 192, False)
        + unit(192, 64, 256, True) + 5 * unit(256, 64, 256, False)
        + unit(256, 96, 384, True) + 2 * unit(384, 96, 384, False)
    )  # fmt: skip
    neck = 2 * 384 + 384 * 196
    up = (
        2 * 196 + 9 * 196 * 128 + 2 * 256 + 256 * 128
        + 2 * 128 + 9 * 128 * 96 + 2 * 192 + 192 * 96
    )  # fmt: skip
    heads = 2 * 96 + 9 * 96 * (1 + 4 + 2) + 1 + 4 + 2
    found = count(lambda: models.BlockDetector(rngs=nnx.Rngs(0)))
    assert found == stem + stages + neck + up + heads


def test_the_papers_resolutions():
    model = nnx.eval_shape(lambda: models.BlockDetector(rngs=nnx.Rngs(0)))
    shapes = {name: g.spatial_shape for name, (_, g) in model.geometries((800, 1400)).items()}
    assert shapes["stage1"] == (400, 700) and shapes["stage4"] == (50, 88)
    assert shapes["heads"] == (200, 350) and shapes["up1"] == (50, 88)
    assert [len(stage) for stage in model.stages] == [3, 6, 6, 3]


def test_class_prior():
    model = models.BlockDetector(3, **SMALL, class_prior=0.2, rngs=nnx.Rngs(0))
    bias = model.heads.convs[0].bias
    assert bias is not None
    np.testing.assert_allclose(jax.nn.sigmoid(bias[...]), 0.2, rtol=1e-5)
