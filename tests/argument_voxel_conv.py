"""Rows of the table of arguments: the convolutions of `jaxsparse.voxel`."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from jaxsparse import voxel
from tests.argument_rows import (
    CAPACITY,
    WINDOWS,
    Defined,
    Late,
    f32,
    i32,
    section,
    type_error,
    value_error,
)

SHAPE = (6, 7)


def sites(**changes) -> Late:
    """Unchecked: 6 x 7 voxels, two channels, two sites, capacity 3."""
    fields = {
        "coords": i32([[0, 1, 2], [0, 3, 3], [1, 0, 0]]),
        "features": np.array([[1, 2], [3, 4], [0, 0]], np.float32),
        "count": i32(2),
        "batch_size": 1,
        "spatial_shape": SHAPE,
    } | changes
    return Late(
        lambda: voxel.VoxelTensor(
            **{k: jnp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        )
    )


GROUND = f32(2)
KERNEL = f32(3, 3, 2, 4)


def planned(*layers) -> Late:
    return Late(lambda: voxel.plan(sites().make(), layers)[-1])


def convolution(name: str, good: dict, *more: tuple) -> list:
    """What all four have in common."""
    run: Callable = getattr(voxel, name)
    return list(
        section(
            f"voxel.{name}",
            run,
            {"x": sites(), "kernel": KERNEL} | good,
            ("x", "an array", f32(1, 6, 7, 2), type_error("x must be a voxel.VoxelTensor, got an array of shape (1, 6, 7, 2)")),
            ("x", "features of integers", sites(features=i32([[1, 2]] * 3)), type_error("x.features must be of dtype float16")),
            ("kernel", "of rank 3", f32(3, 2, 4), value_error("kernel must be of rank 4, [*window, in / groups, out]")),
            ("kernel", "an empty axis", f32(3, 0, 2, 4), value_error("kernel must be of rank 4, [*window, in / groups, out], and of no empty axis")),
            ("kernel", "other input channels than x", f32(3, 3, 5, 4), value_error("in / groups = 2")),
            ("kernel", "another dtype than x", KERNEL.astype(np.float16), type_error("kernel must be of the dtype of x, float32")),
            ("kernel", "not an array", object(), type_error("kernel must be an array")),
            ("bias", "of another length", f32(3), value_error("bias must be of shape (4,) ([out])")),
            ("bias", "another dtype than x", f32(4).astype(np.float16), type_error("bias must be of the dtype of x, float32")),
            ("feature_group_count", "0", 0, value_error("feature_group_count must be at least 1, got 0")),
            ("feature_group_count", "no divisor of the channels", 3, value_error("feature_group_count must be a divisor of the channels of x, 2, got 3")),
            ("feature_group_count", "groups that the kernel was not made for", 2, value_error("in / groups = 1")),
            ("feature_group_count", "no divisor of the outputs", {"feature_group_count": 2, "kernel": f32(3, 3, 1, 3)}, value_error("out a multiple of feature_group_count, 2")),
            ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
            ("kernel_dilation", "a float", 2.0, type_error("kernel_dilation must be an integer")),
            ("plan", "a plan instead of an entry", Late(lambda: voxel.plan(sites().make(), [voxel.Layer("submanifold_conv", 3)])), type_error("plan must be an entry of a voxel.plan, a KernelMap")),
            ("plan", "of another geometry", planned(voxel.Layer("submanifold_conv", 5)), value_error("plan must be for a batch of 1")),
            ("precision", "an unknown word", "exact", type_error("precision must be None, a jax.lax.Precision")),
            ("precision", "a number", 3, type_error("precision must be None, a jax.lax.Precision")),
            ("precision", "\"highest\"", "highest", Defined("on a CPU float32 is float32 in any case", lambda y: y.channels == 4)),
            *more,
        )
    )  # fmt: skip


PADDING = (
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("padding", "pairs for another number of dimensions", ((1, 1),), value_error('padding must be "SAME", "VALID"')),
)  # fmt: skip
ONTO = ("onto", "an array", f32(1, 6, 7, 2), type_error("onto must be a voxel.VoxelTensor"))
BATCH = ("onto", "of another batch size", sites(batch_size=2), value_error("onto must be of batch_size 1, as x"))  # fmt: skip
REFUSED = ("x", "with a background", sites(background=GROUND), value_error("x must be without a background"))  # fmt: skip
ENDS = sites(coords=i32([[0, 3, 3], [0, 1, 2], [0, 9, 9]]))

VOXEL_CONV = [
    *convolution(
        "conv",
        {},
        ("x", "rows that are unsorted, repeated or out of range", ENDS, Defined("the list ends at the first such row", lambda y: int(y.count) == 9)),
        ("x", "with a background", sites(background=GROUND), Defined("padding is with it, and the result has its own", lambda y: y.background.tolist() == [18.0] * 4)),
        ("kernel", "larger than the input, padding VALID", {"kernel": f32(8, 8, 2, 4), "padding": "VALID"}, value_error("kernel must be at most as large as the padded input")),
        ("kernel", "larger than the input, padding SAME", f32(9, 9, 2, 4), Defined("ordinary: zeros surround the input", lambda y: y.spatial_shape == SHAPE)),
        *WINDOWS,
        *PADDING,
        ("padding", "negative", ((-2, 1), (0, 0)), Defined("crops: sites that no window reaches are dropped", lambda y: y.spatial_shape == (3, 5))),
        *CAPACITY,
        ("capacity", "more than the volume", 500, Defined("legal; the other rows are not in use", lambda y: y.capacity == 500 and int(y.count) == 16)),
        ("capacity", "given together with onto", {"capacity": 9, "onto": sites()}, value_error("capacity must be left out with onto, got 9")),
        ONTO,
        BATCH,
        ("onto", "of another spatial shape", sites(spatial_shape=(7, 7)), value_error("onto must be of the output's spatial shape, (6, 7)")),
    ),
    *convolution("submanifold_conv", {}),
    *convolution(
        "conv_transpose",
        {"strides": 2},
        REFUSED,
        *WINDOWS,
        *PADDING,
        ("padding", "so negative that nothing is left", ((-6, -6), (0, 0)), value_error("padding must be such that an output voxel remains")),
        *CAPACITY,
        ONTO,
    ),
    *convolution(
        "inverse_conv",
        {"strides": 1, "onto": sites()},
        REFUSED,
        *WINDOWS,
        *PADDING,
        ONTO,
        BATCH,
        ("onto", "of a shape that does not lead to that of x", sites(spatial_shape=(12, 14)), value_error("x must be of the spatial shape that onto, (12, 14), leads to, (12, 14), got (6, 7)")),
    ),
    *section(
        "voxel.kernel_from_spconv",
        voxel.kernel_from_spconv,
        {"weight": f32(4, 3, 3, 2)},
        ("weight", "of rank 2", f32(4, 2), value_error("weight must be [out, *window, in] with 1 to 4 window axes")),
        ("weight", "integers", i32(np.ones((4, 3, 2))), type_error("weight must be of dtype float16")),
        ("transposed", "a number", 1, type_error("transposed must be True or False, got 1 (int)")),
    ),
    *section(
        "voxel.kernel_to_spconv",
        voxel.kernel_to_spconv,
        {"kernel": f32(3, 3, 2, 4)},
        ("kernel", "an empty axis", f32(3, 0, 2, 4), value_error("kernel must be [*window, in, out] with 1 to 4 window axes, none of them empty")),
        ("transposed", "None", None, type_error("transposed must be True or False")),
    ),
]  # fmt: skip
