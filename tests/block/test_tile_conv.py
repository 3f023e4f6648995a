"""The form in which tiles are convolved: the same values as XLA's convolution, tile by tile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse.block import _tile_conv
from jaxsparse.block._tile_conv import tile_conv
from tests.block.common import normal

pytestmark = pytest.mark.core

CASES = {
    "3x3": ((5, 6), (3, 3), (1, 1), (1, 1)),
    "strides, a width they do not divide": ((7, 8), (3, 3), (2, 3), (1, 1)),
    "stride above the kernel": ((4, 7), (2, 1), (1, 3), (1, 1)),
    "dilation": ((7, 9), (2, 3), (1, 2), (3, 2)),
    "one tap, strides": ((5, 6), (1, 1), (2, 3), (1, 1)),
}


def plain(y, kernel, strides, dilation):
    return jax.lax.conv_general_dilated(
        y, kernel, strides, "VALID", rhs_dilation=dilation, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )  # fmt: skip


@pytest.mark.parametrize("form", ["side by side", "patches"])
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_the_convolution(rng, name, form, monkeypatch):
    monkeypatch.setattr(_tile_conv, "MANY", 1 if form == "patches" else 96)
    size, window, strides, dilation = CASES[name]
    y = jnp.asarray(normal(rng, 3, *size, 2))
    y = y.at[1].set(jnp.nan)  # the tiles beside it must not see that
    kernel = jnp.asarray(normal(rng, *window, 2, 4))

    def run(function):
        def both(y, kernel):
            out, pull = jax.vjp(function, y, kernel)
            return out, pull(jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape))

        return jax.jit(both)(y, kernel)

    found = run(lambda y, k: tile_conv(y, k, strides, dilation, "highest"))
    wanted = run(lambda y, k: plain(y, k, strides, dilation))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_each_platform_has_its_form():
    y, kernel = jnp.zeros((7, 5, 6, 2)), jnp.zeros((3, 3, 2, 4))
    traced = jax.jit(lambda y, k: tile_conv(y, k, (1, 1), (1, 1), None)).trace(y, kernel)
    wide, tiles = "tensor<1x5x42x2xf32>", "tensor<7x5x6x2xf32>, tensor<3x3x2x4xf32>"
    for platform, form in (("cpu", wide), ("cuda", tiles)):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        (line,) = [line for line in text.splitlines() if "stablehlo.convolution" in line]
        assert form in line


def test_few_tiles_of_many_channels_are_a_product():
    kernel = jnp.zeros((3, 3, 96, 96))
    for rows, products in ((3, True), (2000, False)):
        run = jax.jit(lambda y, k: tile_conv(y, k, (1, 1), (1, 1), None))
        text = run.lower(jax.ShapeDtypeStruct((rows, 6, 6, 96), jnp.float32), kernel).as_text()
        assert ("stablehlo.dot_general" in text) == products


def test_one_tap_is_a_product():
    y, kernel = jnp.zeros((7, 5, 6, 2)), jnp.zeros((1, 1, 2, 4))
    text = jax.jit(lambda y, k: tile_conv(y, k, (1, 1), (1, 1), None)).lower(y, kernel).as_text()
    assert "stablehlo.dot_general" in text and "stablehlo.convolution" not in text
