"""Rows of the table of arguments: the layers of `jaxsparse.nn` over voxels, and the networks made of them."""

import functools

import numpy as np
from flax import nnx

from jaxsparse import models, nn, voxel
from tests.argument_layers import DTYPES, RATES, RNGS, sizes_of
from tests.argument_rows import (
    CAPACITY,
    EMPTY_BATCH,
    WINDOWS,
    Defined,
    Late,
    f32,
    section,
    type_error,
    value_error,
)
from tests.argument_rows import x as sparse
from tests.argument_voxel_rows import GROUND, NO_GROUND, PLANS, container, v, voxels

DENSE = f32(1, 4, 5, 2)
BAD_PADDING = ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"'))
AS_LAX = ("precision", "None", None, Defined("XLA's default", lambda _: True))
BAD_INIT = ("bias_init", "not a function", 0.0, type_error("bias_init must be a function (key, shape, dtype) -> array"))  # fmt: skip

# ---- Functions that take several kinds --------------------------------------------------------------------------------

BELONGS = "must be left out unless x is a voxel.VoxelTensor"
POOLING = tuple(
    row
    for name in ("max_pool", "avg_pool")
    for row in section(
        f"nn.{name}",
        getattr(nn, name),
        {"x": v(), "window_shape": 2},
        *voxels()[1:],
        ("padding", "given with a SparseTensor", {"x": sparse(), "padding": "SAME"}, value_error(f"padding {BELONGS}")),
        ("padding", "an unknown word, dense", {"x": DENSE, "padding": "FULL"}, value_error('padding must be "SAME", "VALID"')),
        ("padding", "\"VALID\", dense", {"x": DENSE, "padding": "VALID"}, Defined("windows that are not cut", lambda y: y.shape == (1, 2, 2, 2))),
        *PLANS,
        ("plan", "given with an array", {"x": DENSE, "plan": Late(lambda: voxel.plan(container(), [voxel.Layer("max_pool", 2)])[0])}, value_error(f"plan {BELONGS}")),
    )
)  # fmt: skip
COARSE = v(spatial_shape=(2, 2), coords=np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0]], np.int32))
HALF = v(spatial_shape=(2, 3), coords=np.array([[0, 0, 0], [0, 1, 2], [1, 0, 0]], np.int32))
UNPOOL = section(
    "nn.unpool",
    nn.unpool,
    {"x": COARSE, "onto": v(), "strides": 2},
    ("onto", "an array, x a VoxelTensor", {"onto": DENSE}, type_error("onto must be a voxel.VoxelTensor, as x")),
    BAD_PADDING,
    ("padding", "given with an array", {"x": f32(1, 2, 2, 2), "onto": DENSE, "padding": "SAME"}, value_error(f"padding {BELONGS}")),
    *PLANS,
)  # fmt: skip

# ---- Layers ------------------------------------------------------------------------------------------------------------

GROUPS = (
    ("feature_group_count", "0", 0, value_error("feature_group_count must be at least 1, got 0")),
    ("feature_group_count", "that do not divide the channels", 3, value_error("feature_group_count must be a divisor of 2 and 4 features, got 3")),
)  # fmt: skip
SHARED = (
    *sizes_of("in_features"),
    *sizes_of("out_features"),
    ("kernel_size", "0", 0, value_error("kernel_size must be at least 1, got 0")),
    (
        "kernel_size",
        "5 dimensions",
        (1,) * 5,
        value_error("kernel_size must be an integer or 1 to 4 of them"),
    ),
    (
        "kernel_size",
        "a float",
        3.0,
        type_error("kernel_size must be an integer or a sequence of 1 to 4"),
    ),
    ("use_bias", "False", False, Defined("no bias", lambda layer: layer.bias is None)),
    *DTYPES,
    AS_LAX,
    BAD_INIT,
)
DILATION = (
    ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
    ("kernel_dilation", "of another length", (1,), value_error("kernel_dilation must be an integer or 2 of them")),
)  # fmt: skip
GOOD = {"in_features": 2, "out_features": 4, "kernel_size": (3, 3), "rngs": RNGS}
SLIDING = (*WINDOWS, BAD_PADDING)
BUILT = {
    "VoxelConv": (*SLIDING, *DILATION, *GROUPS, *CAPACITY, *RATES),
    "VoxelSubmanifoldConv": (*DILATION, *GROUPS),
    "VoxelConvTranspose": (*SLIDING, *CAPACITY, *RATES),
    "VoxelInverseConv": SLIDING,
}
LAYERS = tuple(
    row
    for name, rows in BUILT.items()
    for row in section(f"nn.{name}", getattr(nn, name), GOOD, *SHARED, *rows)
)
POOL = section(
    "nn.VoxelMaxPool",
    nn.VoxelMaxPool,
    {"window_shape": (2, 2)},
    ("window_shape", "0", 0, value_error("window_shape must be at least 1, got 0")),
    *WINDOWS,
    BAD_PADDING,
    *CAPACITY,
    *RATES,
)


@functools.cache
def layer(name, **options):
    if name == "VoxelMaxPool":
        return nn.VoxelMaxPool((2, 2))
    return getattr(nn, name)(2, 4, (2, 2), **options, rngs=nnx.Rngs(0))


def call(name):
    strided = {} if name in ("VoxelSubmanifoldConv", "VoxelMaxPool") else {"strides": 2}
    return lambda x, **more: layer(name, **strided)(x, **more)


CALLS = (
    *section("nn.VoxelConv.__call__", call("VoxelConv"), {"x": v()}, *voxels(), *PLANS),
    *section("nn.VoxelSubmanifoldConv.__call__", call("VoxelSubmanifoldConv"), {"x": v()}, *voxels(), *PLANS),
    *section("nn.VoxelConvTranspose.__call__", call("VoxelConvTranspose"), {"x": v()}, *voxels(), ("x", "with a background", GROUND, value_error("background")), *PLANS),
    *section(
        "nn.VoxelInverseConv.__call__",
        call("VoxelInverseConv"),
        {"x": HALF, "onto": v()},
        *voxels(),
        *voxels("onto"),
        *PLANS,
    ),
    *section("nn.VoxelMaxPool.__call__", call("VoxelMaxPool"), {"x": v()}, *voxels(), *PLANS),
)  # fmt: skip


def norm(name, **options):
    return lambda x, mask=None: getattr(nn, name)(2, rngs=nnx.Rngs(0), **options)(x, mask=mask)


NORMS = tuple(
    row
    for name in ("LayerNorm", "InstanceNorm")
    for row in section(
        f"nn.{name}.__call__",
        norm(name),
        {"x": v()},
        *voxels()[1:],
        ("x", "of other channels", v(features=f32(3, 5)), value_error("x must be of 2 channels, got 5")),
        ("mask", "given with a VoxelTensor", DENSE, value_error("mask must be None for this VoxelTensor")),
    )
)  # fmt: skip
MORE_NORM = section(
    "nn.BatchNorm.__call__",
    lambda x, mask=None: nn.BatchNorm(2, rngs=nnx.Rngs(0))(x, mask=mask),
    {"x": v()},
    *voxels()[1:],
    ("x", "a VoxelTensor of other channels", v(features=f32(3, 5)), value_error("the number of channels must be 2 for this VoxelTensor, got 5")),
    ("mask", "given with a VoxelTensor", DENSE, value_error("mask must be None for this VoxelTensor")),
)  # fmt: skip
PLAN = section(
    "nn.voxel_plan",
    nn.voxel_plan,
    {"x": v(), "layers": ()},
    *voxels(),
    ("layers", "a layer", Late(lambda: nn.VoxelMaxPool((2, 2))), type_error("layers must be a sequence of layers")),
    ("layers", "something else among them", Late(lambda: [nnx.Linear(2, 2, rngs=nnx.Rngs(0))]), type_error("layers[0] must be a convolution or pooling of voxels, got Linear")),
    ("layers", "an inverse convolution first", Late(lambda: [layer("VoxelInverseConv")]), value_error("layers[0] must be behind a convolution or pooling that it can undo")),
    ("layers", "none", (), Defined("no maps", lambda maps: maps == ())),
)  # fmt: skip

BRIDGES = (
    *section(
        "nn.to_voxel_tensor",
        nn.to_voxel_tensor,
        {"x": sparse()},
        ("x", "a VoxelTensor", v(), type_error("x must be a direct.SparseTensor")),
        ("x", "an empty batch", EMPTY_BATCH, value_error("x must be of at least one batch element")),
        *CAPACITY,
    ),
    *section("nn.to_sparse_tensor", nn.to_sparse_tensor, {"x": v()}, *voxels(), NO_GROUND, *CAPACITY),
)  # fmt: skip

# ---- Networks ----------------------------------------------------------------------------------------------------------

KINDS = tuple(row for row in DTYPES if row[0] != "kernel_init")
CLASSES = sizes_of("classes")
DIMS = (("dims", "0", 0, value_error("dims must be at least 1, got 0")),)
FIELD = v(spatial_shape=(6, 6), coords=np.array([[0, 1, 1], [0, 3, 4], [1, 0, 0]], np.int32))


def densities(count: int) -> tuple:
    return (
        ("densities", "of another length", (0.5,) * 9, value_error(f"densities must be a sequence of {count} densities")),
        ("densities", "0 among them", (0.0,) * count, value_error("densities[0] must be a positive, finite number")),
        ("densities", "a number", 0.5, type_error(f"densities must be a sequence of {count} densities")),
    )  # fmt: skip


@functools.cache
def s3dcnn():
    return models.S3DCNN(in_features=2, dims=2, depth=1, width=4, rngs=nnx.Rngs(0))


@functools.cache
def resnet():
    return models.VoxelResNet(2, 3, widths=(4,), dims=2, rngs=nnx.Rngs(0))


@functools.cache
def unet():
    return models.VoxelUNet(2, 3, widths=(4,), dims=2, rngs=nnx.Rngs(0))


WRONG = ("x", "of other channels", v(features=f32(3, 5)), value_error("x must be of 2 channels"))
S3DCNN = (
    *section(
        "models.S3DCNN",
        models.S3DCNN,
        {"depth": 1, "width": 4, "rngs": RNGS},
        *CLASSES,
        *sizes_of("in_features"),
        *DIMS,
        *sizes_of("depth"),
        *sizes_of("width"),
        ("slope", "NaN", float("nan"), value_error("slope must be finite, got nan")),
        ("dropout", "above 1", 1.5, value_error("dropout must be finite and at least 0 and at most 1")),
        *densities(2),
        ("densities", "a preset for another depth", "paper-40", value_error("densities must be a sequence of 2 densities or a preset for depth 1 (none)")),
        ("ground_state", "1", 1, type_error("ground_state must be True or False, got 1 (int)")),
        *DTYPES,
        AS_LAX,
    ),
    *(
        row
        for name in ("__call__", "embed", "activations")
        for row in section(
            f"models.S3DCNN.{name}",
            lambda x, rngs=None, name=name: getattr(s3dcnn(), name)(x, rngs=rngs),
            {"x": FIELD},
            *voxels(),
            ("x", "of another spatial shape", v(), value_error("x must be of shape [batch, 6, 6, 2]")),
            ("rngs", "None, without dropout", None, Defined("not needed", lambda y: y is not None)),
        )
    ),
)  # fmt: skip
RESNET = (
    *section(
        "models.VoxelResNet",
        models.VoxelResNet,
        {"in_features": 2, "widths": (4, 4), "rngs": RNGS},
        *sizes_of("in_features"),
        *CLASSES,
        ("widths", "empty", (), value_error("widths must be a sequence of integers")),
        ("widths", "a number", 4, type_error("widths must be a sequence of integers")),
        (
            "blocks",
            "of another length",
            (1, 1, 1),
            value_error("blocks must be an integer or 2 of them"),
        ),
        *DIMS,
        *densities(1),
        *KINDS,
        AS_LAX,
    ),
    *section("models.VoxelResNet.__call__", lambda x: resnet()(x), {"x": v()}, *voxels(), WRONG),
    *section(
        "models.VoxelResNet.stages", lambda x: resnet().stages(x), {"x": v()}, *voxels(), WRONG
    ),
)
UNET = (
    *section(
        "models.VoxelUNet",
        models.VoxelUNet,
        {"in_features": 2, "classes": 3, "widths": (4, 4), "rngs": RNGS},
        *sizes_of("in_features"),
        *CLASSES,
        ("widths", "empty", (), value_error("widths must be a sequence of integers")),
        (
            "up_widths",
            "of another length",
            (4, 4, 4),
            value_error("up_widths must be 1 integers, one for each level but the coarsest"),
        ),
        ("blocks", "0", 0, value_error("blocks must be at least 1, got 0")),
        *DIMS,
        *densities(1),
        *KINDS,
        AS_LAX,
    ),
    *section("models.VoxelUNet.__call__", lambda x: unet()(x), {"x": v()}, *voxels(), WRONG),
)

VOXEL_LAYERS = [
    *POOLING, *UNPOOL, *LAYERS, *POOL, *CALLS, *NORMS, *MORE_NORM, *PLAN, *BRIDGES, *S3DCNN, *RESNET, *UNET,
]  # fmt: skip
