"""Layers of spconv 2.3.8 and what its CPU build made of a few sites (spconv_layers.py) against ours with its weights."""

import numpy as np
import pytest

from jaxsparse import voxel
from tests.voxel.spconv_layers import BATCH, FILE, LAYERS, UNDOES


@pytest.fixture(scope="module")
def recorded():
    with np.load(FILE) as data:
        return dict(data)


def sorted_rows(coords, features):
    order = np.lexsort(coords.T[::-1])
    return coords[order], features[order]


def tensor(coords, features, shape):
    return voxel.VoxelTensor.from_coords(
        coords, features, batch_size=BATCH, spatial_shape=tuple(shape)
    )


def pairs(value, dims):
    return tuple((int(p), int(p)) for p in np.broadcast_to(value, dims))


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_spconv(name, recorded):
    kind, shape, arguments = LAYERS[name]
    data = {k.split(".")[1]: v for k, v in recorded.items() if k.startswith(f"{name}.")}
    dims = len(shape)
    x = tensor(data["coords"], data["features"], shape)
    bias = data["bias"]
    kernel = voxel.kernel_from_spconv(data["weight"], transposed="Transpose" in kind)
    dilation = arguments.get("dilation", 1)
    strides = arguments.get("stride", 1)
    padding = pairs(arguments.get("padding", 0), dims)
    if kind.startswith("SubM"):
        y = voxel.submanifold_conv(x, kernel, bias, kernel_dilation=dilation)
    elif "Inverse" in kind:
        _, before = UNDOES[name]
        strides, padding = before["stride"], pairs(before["padding"], dims)
        coarse = voxel.conv(x, np.ones((*kernel.shape[:3], 3, 1), np.float32), strides=strides, padding=padding)  # fmt: skip
        down = tensor(data["x_coords"], data["x_features"], coarse.spatial_shape)
        y = voxel.inverse_conv(down, kernel, bias, onto=x, strides=strides, padding=padding)
    elif "Transpose" in kind:
        window = kernel.shape[:dims]
        around = tuple((k - 1 - p, k - 1 - p) for k, (p, _) in zip(window, padding, strict=True))
        y = voxel.conv_transpose(x, kernel, bias, strides=strides, padding=around)
    else:
        y = voxel.conv(x, kernel, bias, strides=strides, padding=padding)
    coords, features = sorted_rows(data["out_coords"], data["out_features"])
    assert y.spatial_shape == tuple(data["out_shape"].tolist())
    found = int(y.count)
    np.testing.assert_array_equal(y.coords[:found], coords)
    np.testing.assert_allclose(y.features[:found], features, rtol=1e-5, atol=1e-5)


def test_the_way_back():
    weight = np.random.default_rng(0).standard_normal((4, 3, 2, 5)).astype(np.float32)
    for transposed in (False, True):
        kernel = voxel.kernel_from_spconv(weight, transposed=transposed)
        assert kernel.shape == (3, 2, 5, 4)
        back = voxel.kernel_to_spconv(kernel, transposed=transposed)
        np.testing.assert_array_equal(back, weight)
    assert kernel[0, 1, 2, 3] == weight[3, 2, 0, 2]
