"""conv: the dense result inside the tiles of active blocks, the base elsewhere; and the gradients of that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxsparse import block
from tests import oracle_block as oracle
from tests.block.common import CHAINS, chain, listed, normal, precision, some_rows
from tests.block.test_geometry import per_axis
from tests.direct.common import BF16, F16, F64

# One convolution each.
SINGLE = [
    name
    for name, (_, _, arguments) in CHAINS.items()
    if isinstance(arguments["kernel_sizes"], int) or len(arguments["kernel_sizes"]) == 1
]


def arguments_of(name):
    """Keyword arguments of block.conv and the kernel's window."""
    shape, _, arguments = CHAINS[name]
    (window, strides, dilation, padding) = (
        value[0] if isinstance(value, tuple) else value
        for value in (
            arguments["kernel_sizes"],
            arguments.get("strides", 1),
            arguments.get("kernel_dilations", 1),
            arguments.get("padding", "SAME"),
        )
    )
    window = (window,) * len(shape) if isinstance(window, int) else window
    return window, {"strides": strides, "padding": padding, "kernel_dilation": dilation}


def operands(rng, g, window, batch=2, channels=(3, 4), dtype=np.float32):
    x = normal(rng, batch, *g.spatial_shape, channels[0], dtype=dtype)
    kernel = normal(rng, *window, *channels, dtype=dtype)
    return x, kernel, normal(rng, channels[1], dtype=dtype), normal(
        rng, batch, *g.out_shape, channels[1], dtype=dtype
    )  # fmt: skip


def dense(name, x, kernel, bias):
    axes, _ = per_axis(*CHAINS[name][::2])
    padding, strides, dilation = [], [], []
    for (k, s, low, r), n, o in zip(
        (links[0] for links in axes), x.shape[1:-1], chain(name).out_shape, strict=True
    ):
        padding.append((low, (o - 1) * s + (k - 1) * r + 1 - n - low))
        strides.append(s)
        dilation.append(r)
    return oracle.dense_conv(x, kernel, bias, strides, padding, dilation)


@pytest.mark.parametrize("name", SINGLE)
def test_it_is_dense_inside_and_the_base_elsewhere(rng, name):
    g = chain(name)
    window, arguments = arguments_of(name)
    x, kernel, bias, base = operands(rng, g, window)
    rows = some_rows(g, 2, rng, 0.5)
    blocks = listed(g, rows, 2, len(rows) + 1)
    inside = (oracle.owner(g.tile, rows, 2) >= 0)[..., None]
    assert inside.any() and not inside.all()
    wanted = np.where(inside, dense(name, x, kernel, bias), base)

    @jax.jit
    def run(x, kernel, bias, base):
        y, pull = jax.vjp(
            lambda *operands: block.conv(*operands[:3], blocks=blocks, base=operands[3], **arguments),
            x, kernel, bias, base,
        )  # fmt: skip
        return y, pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    y, gradients = run(x, kernel, bias, base)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(y)[~inside[..., 0]], base[~inside[..., 0]])

    def restricted(x, kernel, bias, base):
        """By XLA on the whole image."""
        dims = kernel.ndim - 2
        spatial = "DHW"[3 - dims :]
        strides, dilation = (
            (value,) * dims if isinstance(value, int) else value
            for value in (arguments["strides"], arguments["kernel_dilation"])
        )
        out = jax.lax.conv_general_dilated(
            x, kernel, strides, arguments["padding"], rhs_dilation=dilation,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        )  # fmt: skip
        out = out + jnp.broadcast_to(bias, out.shape)
        return jnp.where(jnp.broadcast_to(inside, out.shape), out, base)

    @jax.jit
    def run_dense(*operands):
        y, pull = jax.vjp(restricted, *operands)
        return y, pull(jnp.sin(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))

    y_dense, dense_gradients = run_dense(x, kernel, bias, base)
    np.testing.assert_allclose(y, y_dense, rtol=1e-5, atol=1e-5)
    for found, wanted in zip(gradients, dense_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.core
@pytest.mark.parametrize(
    "dtype, tolerance", [(F64, 1e-12), (BF16, 3e-2), (F16, 4e-3)], ids=("float64", "bfloat16", "float16")
)  # fmt: skip
def test_every_dtype(rng, dtype, tolerance):
    g = chain("3")
    with precision(dtype):
        x, kernel, bias, base = operands(rng, g, (3, 3), dtype=dtype)
        rows = some_rows(g, 2, rng)
        y = block.conv(x, kernel, bias, blocks=listed(g, rows, 2), base=base)
        assert y.dtype == dtype
        inside = (oracle.owner(g.tile, rows, 2) >= 0)[..., None]
        wanted = np.where(inside, dense("3", x, kernel, bias.astype(float)), base.astype(float))
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(
            np.asarray(y, float) / scale, wanted / scale, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("channels", [(1, 1), (17, 3), (96, 96), (384, 17)], ids=str)
def test_channels(rng, channels):
    """Values and gradients are those of XLA's convolution of the whole image; 5,000 channels: test_large.py."""
    g = chain("3")
    x, kernel, bias, base = operands(rng, g, (3, 3), 1, channels)
    rows = some_rows(g, 1, rng, 0.5)
    blocks = listed(g, rows, 1, len(rows) + 1)
    inside = (oracle.owner(g.tile, rows, 1) >= 0)[..., None]
    layout = ("NHWC", "HWIO", "NHWC")

    def sparse(x, kernel, bias):
        return block.conv(x, kernel, bias, blocks=blocks, base=base)

    def whole(x, kernel, bias):
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return jnp.where(inside, y + bias[None, None, None], base)

    @jax.jit
    def run(x, kernel, bias):
        found = []
        for function in (sparse, whole):
            y, pull = jax.vjp(function, x, kernel, bias)
            found.append((y, *pull(jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape))))
        return found

    for found, wanted in zip(*run(x, kernel, bias), strict=True):
        scale = np.abs(np.asarray(wanted)).max()
        np.testing.assert_allclose(found / scale, wanted / scale, rtol=0, atol=1e-5)


@pytest.mark.core
def test_all_blocks_are_the_dense_convolution_and_none_is_the_base(rng):
    g = chain("stride")
    x, kernel, bias, base = operands(rng, g, (3, 3))
    wanted = dense("stride", x, kernel, bias)
    every = block.reduce_mask(np.ones(x.shape[:-1], bool), g)
    y = block.conv(x, kernel, bias, blocks=every, strides=2)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)
    none = block.reduce_mask(np.zeros(x.shape[:-1], bool), g)
    y = block.conv(x, kernel, bias, blocks=none, base=base, strides=2)
    np.testing.assert_array_equal(y, base)
    y = block.conv(x, kernel, bias, blocks=none, strides=2)
    np.testing.assert_array_equal(y, np.zeros_like(base))


def test_the_geometry_of_a_longer_chain_will_do(rng):
    """Windows with more halo than this convolution needs: it starts further inside."""
    x, kernel, _, base = operands(rng, chain("two"), (3, 3))
    g = block.geometry((9, 12), (9, 11), kernel_sizes=(3, (3, 5)))
    rows = some_rows(g, 2, rng)
    y = block.conv(x, kernel, blocks=listed(g, rows, 2), base=base)
    inside = (oracle.owner(g.tile, rows, 2) >= 0)[..., None]
    wanted = np.where(inside, dense("3", x, kernel, 0), base)
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"strides": 2},
        {"kernel_dilation": 2},
        {"padding": ((2, 0), (0, 2))},
        {"padding": "VALID"},
    ],
    ids=str,
)
def test_a_geometry_that_does_not_fit_is_an_error(arguments):
    g = chain("3")
    blocks = listed(g, np.zeros((0, 3), np.int32), 1, 1)
    with pytest.raises(ValueError, match=r"conv: blocks.geometry must be"):
        block.conv(np.zeros((1, 9, 12, 1), np.float32), np.zeros((3, 3, 1, 1), np.float32),
                   blocks=blocks, **arguments)  # fmt: skip
