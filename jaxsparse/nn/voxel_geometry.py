"""Where the layers of voxels lead: shapes, rows, and what a plan has to know."""

from typing import Any

from jaxsparse import voxel
from jaxsparse._core import capacity as capacities
from jaxsparse._core import windows
from jaxsparse.voxel import _relation


def out_shape(layer: Any, spatial_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The spatial shape of a convolution's or pooling's output for one of its input."""
    name = type(layer).__name__
    if layer.kind == "conv_transpose":
        size, strides, padding = layer.kernel_size, layer.strides, layer.padding
        return _relation.transposed(
            name, spatial_shape, size, strides, padding, 1, argument="kernel_size"
        ).out_shape
    pools = layer.kind == "max_pool"
    size, argument = (
        (layer.window_shape, "window_shape") if pools else (layer.kernel_size, "kernel_size")
    )
    dilation = 1 if pools else layer.kernel_dilation
    return windows.convolution(
        name, spatial_shape, size, layer.strides, layer.padding, dilation, argument=argument
    ).out_shape


def rows_of(layer: Any, batch_size: int, spatial_shape: tuple[int, ...]) -> int | None:
    """The capacity of a layer for an input of this size, its density turned into rows."""
    if layer.density_bound is None:
        return layer.capacity
    name = type(layer).__name__
    volume = windows.check_volume(name, "the output", out_shape(layer, spatial_shape))
    voxels = batch_size * volume
    return capacities.resolve(name, None, layer.density_bound, volume=voxels, bound=voxels)


def planned(layer: Any, capacity: int | None) -> voxel.Layer:
    """What :func:`voxel.plan` has to know of a layer."""
    if layer.kind == "max_pool":
        size, strides, padding = layer.window_shape, layer.strides, layer.padding
        return voxel.Layer(layer.kind, size, strides, padding, capacity=capacity)
    size, dilation = layer.kernel_size, layer.kernel_dilation
    if layer.kind == "submanifold_conv":
        return voxel.Layer(layer.kind, size, kernel_dilation=dilation)
    return voxel.Layer(layer.kind, size, layer.strides, layer.padding, dilation, capacity)
