"""Memory that is known before the run: storage, workspace, and how they grow."""

import jax
import jax.numpy as jnp
import pytest

import xla_kernels
from jaxsparse import direct
from jaxsparse.direct import SparseTensor
from tests.direct.common import F32


def like(spatial_shape, channels, capacity, batch=1, dtype=F32) -> SparseTensor:
    """Shapes and dtypes of a tensor."""
    slots = (batch, channels, capacity)
    return SparseTensor(
        keys=jax.ShapeDtypeStruct(slots, jnp.int32),
        values=jax.ShapeDtypeStruct(slots, dtype),
        nnz=jax.ShapeDtypeStruct(slots[:2], jnp.int32),
        spatial_shape=spatial_shape,
    )


def test_the_workspace_grows_with_a_slice_not_with_the_volume():
    kernel = jax.ShapeDtypeStruct((3, 3, 3, 1, 8), F32)

    def at(r):
        return direct.conv_workspace(like((r,) * 3, 1, r * r), kernel, density=1 / r)

    for small, middle, large in zip(at(256), at(512), at(1024), strict=True):
        assert middle < 1.2 * 4 * small
        assert large < 1.2 * 4 * middle
    assert max(at(512)) < 64 * 2**20


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_types_hold_one_block_of_channels_in_float32(dtype):
    """Responses are selected in float32: 16 channels of one batch element at a time, whatever there are in all."""

    def forward(channels, dtype):
        kernel = jax.ShapeDtypeStruct((3, 3, 3, 1, channels), dtype)
        x = like((128,) * 3, 1, 100, dtype=dtype)
        return direct.conv_workspace(x, kernel, capacity=2**20).forward

    for channels in (16, 64):
        extra = forward(channels, dtype) - forward(channels, F32)
        assert extra == pytest.approx(16 * 2**20 * 4, rel=0.01)


def test_storage_at_512_cubed_is_two_thirds_of_64_bit_keys():
    """Table 1: 8 bytes an entry in float32, where 64-bit keys take 12."""
    capacity = 512**2
    x = like((512,) * 3, 1, capacity)
    assert x.nbytes <= 0.667 * capacity * (8 + 4)


SIZES = {
    "spatial_shape": [4, 5],
    "out_shape": [4, 5],
    "kernel_shape": [3, 3],
    "strides": [1, 1],
    "padding": [1, 1, 1, 1],
    "dilation": [1, 1],
    "in_channels": 2,
    "out_channels": 3,
    "capacity": 4,
    "out_capacity": 5,
    "itemsize": 4,
}


WINDOW_SIZES = {
    "spatial_shape": [4, 5],
    "out_shape": [2, 3],
    "window": [2, 2],
    "strides": [2, 2],
    "capacity": 4,
    "out_capacity": 5,
    "itemsize": 2,
}
SUM_SIZES = {"x_capacity": 3, "y_capacity": 4, "out_capacity": 5, "itemsize": 8}
ALL_SIZES = {
    **dict.fromkeys(("conv", "conv_at", "conv_input_grad", "conv_kernel_grad"), SIZES),
    **dict.fromkeys(("max_pool", "avg_pool", "window_sum", "window_spread"), WINDOW_SIZES),
    "add": SUM_SIZES,
}


@pytest.mark.core
@pytest.mark.parametrize("op", ALL_SIZES)
def test_sizes_that_nobody_means_are_refused_or_counted(op):
    sizes = ALL_SIZES[op]
    assert xla_kernels.workspace_bytes(op, **sizes) > 0
    for name, good in sizes.items():
        for bad in (0, -1, 2**31, 2**62, -(2**62)):
            value = [bad, *good[1:]] if isinstance(good, list) else bad
            try:
                assert xla_kernels.workspace_bytes(op, **(sizes | {name: value})) >= 0
            except (ValueError, TypeError) as error:
                assert str(error), (name, bad)


@pytest.mark.core
@pytest.mark.parametrize("by", [-1, 1, 4], ids=["shorter", "longer", "five dimensions"])
@pytest.mark.parametrize("name", ["spatial_shape", "out_shape", "strides"])
@pytest.mark.parametrize("op", ["conv", "max_pool"])
def test_lists_of_other_lengths_are_refused_on_cuda(op, name, by):
    sizes = {**ALL_SIZES[op], "channels": 2}
    assert xla_kernels.cuda_workspace_bytes(op, 1, **sizes) > 0
    wrong = sizes[name][:by] if by < 0 else sizes[name] + [1] * by
    with pytest.raises(ValueError, match=r"1 to 4|must (have|fit)"):
        xla_kernels.cuda_workspace_bytes(op, 1, **(sizes | {name: wrong}))


@pytest.mark.core
@pytest.mark.parametrize("op", ["window_sum", "window_spread", "max_pool", "avg_pool"])
def test_the_workspace_of_a_pooling_grows_with_the_entries(op):
    def at(r):
        shape = {"spatial_shape": [r] * 3, "out_shape": [r // 2] * 3}
        slots = {"capacity": r * r, "out_capacity": r * r, "itemsize": 4}
        return xla_kernels.workspace_bytes(op, **shape, window=[2] * 3, strides=[2] * 3, **slots)

    assert at(512) < 64 * 2**20
    assert at(1024) < 1.2 * 4 * at(512)
