"""The table of docs/voxel_conventions.md: one impulse through one tap, against lax; the page's own example."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxsparse import voxel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "voxel_conventions.md"
N = 11


def impulse(i):
    return voxel.VoxelTensor.from_coords([[0, i]], [[1.0]], batch_size=1, spatial_shape=(N,))


def numbered(window):
    """Tap k weighs k + 1, so a result says which tap it came by."""
    return jnp.arange(1.0, window + 1).reshape(window, 1, 1)


def pairs_of(y):
    """(output site, tap) of every stored number."""
    rows = int(y.count)
    return {(int(o), int(v) - 1) for (_, o), v in zip(y.coords[:rows].tolist(), y.features[:rows, 0].tolist(), strict=True)}  # fmt: skip


# window, stride, dilation
GEOMETRIES = [(1, 2, 1), (3, 2, 1), (3, 1, 2), (4, 1, 1), (4, 2, 2)]


@pytest.mark.parametrize("window, stride, dilation", GEOMETRIES)
def test_conv(window, stride, dilation):
    extent = dilation * (window - 1) + 1
    for padding in ("SAME", ((2, 1),), ((-2, 1),), 1):
        if padding == "SAME":
            out = -(-N // stride)
            total = max((out - 1) * stride + extent - N, 0)
            low, high = total // 2, total - total // 2
        else:
            low, high = {"VALID": (0, 0), 1: (1, 1)}.get(padding) or padding[0]
            out = (N + low + high - extent) // stride + 1
        dense = lax.conv_general_dilated(
            jnp.eye(N)[..., None], numbered(window), (stride,),
            padding if padding != 1 else ((1, 1),), rhs_dilation=(dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )  # fmt: skip
        for i in (0, 5):
            y = voxel.conv(
                impulse(i), numbered(window), strides=stride, padding=padding,
                kernel_dilation=dilation,
            )  # fmt: skip
            table = {(o, k) for o in range(out) for k in range(window) if i == o * stride - low + k * dilation}  # fmt: skip
            assert y.spatial_shape == (out,) and pairs_of(y) == table
            np.testing.assert_array_equal(y.to_dense()[0], dense[i])


@pytest.mark.parametrize("window, dilation", [(1, 1), (3, 2), (4, 1), (4, 2)])
def test_submanifold_conv(window, dilation):
    low = dilation * (window - 1) // 2
    every = voxel.VoxelTensor.from_dense(
        jnp.eye(N)[5].reshape(1, N, 1), background=jnp.full(1, 9.0)
    )
    y = voxel.submanifold_conv(
        every.without_background(), numbered(window), kernel_dilation=dilation
    )
    np.testing.assert_array_equal(y.coords, every.coords)
    for o in range(N):
        value = float(y.features[o, 0])
        table = [k + 1.0 for k in range(window) if o - low + k * dilation == 5]
        assert value == (table[0] if table else 0)


@pytest.mark.parametrize("window, stride, dilation", GEOMETRIES)
def test_conv_transpose_and_inverse_conv(window, stride, dilation):
    extent = dilation * (window - 1) + 1
    for low, high in ((0, 0), (2, 3)):
        out = (N - 1) * stride + 1 + low + high - (extent - 1)
        dense = lax.conv_transpose(
            jnp.eye(N)[..., None], numbered(window), (stride,), ((low, high),),
            rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC"),
        )  # fmt: skip
        for i in (6,):
            y = voxel.conv_transpose(
                impulse(i), numbered(window), strides=stride, padding=((low, high),),
                kernel_dilation=dilation,
            )  # fmt: skip
            table = {(o, k) for o in range(out) for k in range(window) if i * stride == o - low + k * dilation}  # fmt: skip
            assert y.spatial_shape == (out,) and pairs_of(y) == table
            np.testing.assert_array_equal(y.to_dense()[0], dense[i])

    # Back from a convolution that leads from 3 N + 2 voxels to N: tap k joins what it joined there.
    size = (N - 1) * stride + extent - 1
    fine = voxel.VoxelTensor.from_dense(jnp.ones((1, size, 1)))
    y = voxel.inverse_conv(
        impulse(4), numbered(window), onto=fine, strides=stride, padding=((1, 0),),
        kernel_dilation=dilation,
    )  # fmt: skip
    for o in range(size):
        table = [k + 1.0 for k in range(window) if o == 4 * stride - 1 + k * dilation]
        assert float(y.features[o, 0]) == (table[0] if table else 0)
    z = voxel.conv_transpose(
        impulse(4), jnp.flip(numbered(window), 0), strides=stride, kernel_dilation=dilation,
        padding=((extent - 2, size - ((N - 1) * stride + 1 + extent - 2 - (extent - 1))),),
    )  # fmt: skip
    np.testing.assert_array_equal(z.to_dense(), y.to_dense())


def test_taps_are_row_major_and_groups_are_blocks_of_channels():
    x = voxel.VoxelTensor.from_coords([[0, 1, 1]], [[1.0, 2.0]], batch_size=1, spatial_shape=(3, 3))
    kernel = jnp.arange(9.0).reshape(3, 3, 1, 1) * jnp.ones((1, 1, 1, 4))
    y = voxel.conv(x, kernel, feature_group_count=2)
    np.testing.assert_array_equal(y.to_dense()[0, ..., 0], np.arange(9.0)[::-1].reshape(3, 3))
    np.testing.assert_array_equal(y.to_dense()[0, ..., 1], y.to_dense()[0, ..., 0])
    np.testing.assert_array_equal(y.to_dense()[0, ..., 2], 2 * y.to_dense()[0, ..., 0])


def test_the_example_of_the_page():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    exec(compile(code, str(PAGE), "exec"), {})
