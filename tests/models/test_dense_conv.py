"""The convolution of dense twins: volumes as stacks of images give what volumes give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from jaxsparse import models
from jaxsparse.models.dense_conv import dense_conv

NUMBERS = ("NXYZC", "XYZIO", "NXYZC")


@pytest.mark.parametrize(
    "kernel, strides, padding, dilation",
    [
        ((3, 3, 3), (1, 1, 1), "SAME", None),
        ((2, 3, 1), (2, 1, 3), "VALID", (1, 1, 1)),
        ((3, 2, 3), (2, 2, 1), "SAME", (2, 1, 1)),
        ((4, 1, 2), (1, 2, 1), ((2, 0), (0, 1), (-1, 2)), (1, 1, 3)),
        ((2, 2, 2), (1, 1, 1), ((-1, 3), (0, 0), (1, 1)), None),
    ],
)
def test_values_and_gradients_equal_those_of_xla(kernel, strides, padding, dilation, rng):
    with jax.enable_x64(True):
        x, w = rng.normal(size=(2, 7, 6, 5, 3)), rng.normal(size=(*kernel, 3, 4))
        options = {"rhs_dilation": dilation, "dimension_numbers": NUMBERS}

        def both(x, w):
            ours = dense_conv(x, w, strides, padding, **options)
            xla = lax.conv_general_dilated(x, w, strides, padding, **options)
            return ours, xla

        @jax.jit
        def run(x, w):
            (ours, xla), back = jax.vjp(both, x, w)
            zero, g = jnp.zeros_like(xla), jnp.cos(jnp.arange(xla.size)).reshape(xla.shape)
            return (ours, *back((g, zero))), (xla, *back((zero, g)))

        for ours, xla in zip(*run(x, w), strict=True):
            np.testing.assert_allclose(ours, xla, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "shape, options",
    [
        ((2, 5, 5, 2), {}),
        ((1, 3, 3, 3, 2), {"lhs_dilation": (1, 2, 1)}),
        ((1, 3, 3, 3, 2), {"preferred_element_type": jnp.float32}),
    ],
)
def test_everything_else_is_xla_itself(shape, options):
    dims = len(shape) - 2
    kernel, strides = np.ones((*(2,) * dims, 2, 3), np.float32), (1,) * dims
    spatial = "XYZ"[:dims]
    options = {"dimension_numbers": (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"), **options}
    jaxprs = [
        str(
            jax.make_jaxpr(lambda x, w, f=f: f(x, w, strides, ((0, 0),) * dims, **options))(
                np.ones(shape, np.float32), kernel
            )
        )
        for f in (dense_conv, lax.conv_general_dilated)
    ]
    assert jaxprs[0] == jaxprs[1]


def test_dense_twins_of_volumes_compute_in_planes():
    model = models.OctNet3((16, 16, 16), 4, hidden=8, sparse=False, rngs=nnx.Rngs(0))
    model.eval()
    graph, state = nnx.split(model)
    text = (
        jax.jit(lambda s, x: nnx.merge(graph, s)(x))
        .lower(state, jnp.zeros((2, 16, 16, 16, 1)))
        .as_text()
    )
    assert text.count("stablehlo.convolution") == 6
    assert "[b, 0, 1, 2, f]" not in text and text.count("[b, 0, 1, f]x[0, 1, i, o]") == 6
