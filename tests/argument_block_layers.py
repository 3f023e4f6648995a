"""Rows of the table of arguments: the block layers of `jaxsparse.nn` and the networks made of them."""

import functools

import numpy as np
from flax import nnx

from jaxsparse import block, models, nn
from tests.argument_block import BLOCKS, lists
from tests.argument_layers import DTYPES, RNGS, sizes_of
from tests.argument_rows import WINDOWS, Defined, f32, section, type_error, value_error

SHAPE, SIZE = (6, 7), 5
IMAGE, WINDOW = f32(1, *SHAPE, 2), f32(3, 5, 5, 2)
NO_IMAGE = (
    ("x", "not an array", object(), type_error("x must be an array")),
    ("x", "integers", np.ones((1, *SHAPE, 2), np.int32), type_error("x must be of dtype float16")),
)
AS_LAX = ("precision", "None", None, Defined("XLA's default", lambda _: True))
OVER_A_MESH = ("axis_name", "a name", "data", Defined("used where the layer runs", lambda _: True))
BAD_INIT = ("bias_init", "not a function", 0.0, type_error("bias_init must be a function (key, shape, dtype) -> array"))  # fmt: skip

CONV = section(
    "nn.BlockConv",
    nn.BlockConv,
    {"in_features": 2, "out_features": 4, "kernel_size": (3, 3), "rngs": RNGS},
    *sizes_of("in_features"),
    *sizes_of("out_features"),
    ("kernel_size", "0", 0, value_error("kernel_size must be at least 1, got 0")),
    ("kernel_size", "4 dimensions", (1,) * 4, value_error("kernel_size must be an integer or 1 to 3 of them")),
    ("kernel_size", "a float", 3.0, type_error("kernel_size must be an integer or a sequence of 1 to 3")),
    *WINDOWS,
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
    ("kernel_dilation", "of another length", (1,), value_error("kernel_dilation must be an integer or 2 of them")),
    ("use_bias", "False", False, Defined("no bias", lambda layer: layer.bias is None)),
    *DTYPES,
    AS_LAX,
    BAD_INIT,
)  # fmt: skip


@functools.cache
def conv():
    return nn.BlockConv(2, 4, (3, 3), rngs=nnx.Rngs(0))


CALL_CONV = section(
    "nn.BlockConv.__call__",
    lambda x, blocks, base=None: conv()(x, blocks, base),
    {"x": IMAGE, "blocks": lists()},
    *NO_IMAGE,
    ("x", "of other channels", f32(1, *SHAPE, 3), value_error("with in = 3, the channels of x")),
    ("x", "of other channels, without blocks", {"x": f32(1, *SHAPE, 3), "blocks": None}, value_error("x must be of rank 4 and 2 channels")),
    ("x", "of another spatial shape than the blocks", f32(1, 7, 7, 2), value_error("x must be of shape [batch, 6, 7, channels]")),
    *BLOCKS,
    ("blocks", "None", None, Defined("the dense convolution", lambda y: y.shape == (1, 6, 7, 4))),
    ("base", "of another shape", f32(1, *SHAPE, 2), value_error("base must be of shape (1, 6, 7, 4)")),
    ("base", "integers", np.ones((1, *SHAPE, 4), np.int32), type_error("base must be of dtype float16")),
)  # fmt: skip

GEOMETRY = section(
    "nn.BlockConv.geometry",
    lambda spatial_shape, block_size: conv().geometry(spatial_shape, block_size),
    {"spatial_shape": SHAPE, "block_size": SIZE},
    ("spatial_shape", "of another length", (6,), value_error("kernel_sizes[0] must be an integer or 1 of them")),
    ("block_size", "smaller than the kernel", 2, value_error("block_size must be at least (3, 3) for one output pixel")),
)  # fmt: skip

ON_WINDOWS = section(
    "nn.BlockConv.on_windows",
    lambda **arguments: conv().on_windows(**arguments),
    {"y": WINDOW, "blocks": lists()},
    ("y", "of another size", f32(3, 4, 5, 2), value_error("y must be of shape (3, 5, 5, 2)")),
    *BLOCKS,
    ("blocks", "of a chain that this convolution is not in", lists(geometry=block.geometry(SHAPE, SIZE, kernel_sizes=1)), value_error("must be such that a window holds all")),
    ("level", "the last", {"level": 1}, value_error("to must be above level and at most 1, the last of the chain, got 2")),
    ("level", "negative", {"level": -1}, value_error("level must be at least 0, got -1")),
    ("to", "not above the level", {"to": 0}, value_error("to must be at least 1, got 0")),
)  # fmt: skip


def normalise(x, axis=-1, kind=None, **how):
    options = {} if kind is None else {"use_running_average": None}
    return nn.BlockBatchNorm(2, axis=axis, **options, rngs=nnx.Rngs(0))(x, **how)


NORM = section(
    "nn.BlockBatchNorm.__call__",
    normalise,
    {"x": WINDOW, "blocks": lists(), "batch_size": 1},
    ("x", "of other channels", f32(3, 5, 5, 3), value_error("x must be of shape (3, 5, 5, 2)")),
    ("x", "integers", np.ones((3, 5, 5, 2), np.int32), type_error("x must be of dtype float16")),
    *BLOCKS,
    ("blocks", "None", None, Defined("nnx.BatchNorm", lambda y: y.shape == (3, 5, 5, 2))),
    ("level", "beyond the last", 2, value_error("level must be one of 2 levels, 0 to 1 or from the end, got 2")),
    ("batch_size", "None, in training mode", None, value_error("batch_size must be the number of images where statistics are taken")),
    ("batch_size", "negative", -1, value_error("batch_size must be at least 0, got -1")),
    ("x", "blocks, and an axis that is not the last", {"axis": 1}, value_error("axis must be -1 with blocks, got 1")),
    ("mask", "given with blocks", f32(3, 5, 5, 1), value_error("mask must be None with blocks")),
    ("use_running_average", "nowhere given", {"kind": "undecided"}, value_error("use_running_average must be given to the constructor")),
    ("use_running_average", "True", {"use_running_average": True, "batch_size": None}, Defined("the running statistics, which stay", lambda y: y.shape == (3, 5, 5, 2))),
)  # fmt: skip

UNIT = section(
    "nn.BlockResidualUnit",
    nn.BlockResidualUnit,
    {"features": 2, "rngs": RNGS},
    *sizes_of("features"),
    *sizes_of("bottleneck_features"),
    *sizes_of("out_features"),
    ("bottleneck_features", "None", None, Defined("a quarter of the outputs, at least 1", lambda unit: unit.bottleneck_features == 1)),
    ("kernel_size", "4 dimensions", (1,) * 4, value_error("kernel_size must be an integer or 1 to 3 of them")),
    ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
    ("strides", "0", 0, value_error("strides must be at least 1, got 0")),
    ("strides", "2", 2, Defined("a projection", lambda unit: unit.projection is not None)),
    ("momentum", "above 1", 1.5, value_error("momentum must be finite and at least 0 and at most 1, got 1.5")),
    ("epsilon", "negative", -1e-5, value_error("epsilon must be finite and at least 0")),
    ("use_bias", "True", True, Defined("biases in all convolutions", lambda unit: unit.conv1.bias is not None)),
    *DTYPES,
    AS_LAX,
    OVER_A_MESH,
)  # fmt: skip


@functools.cache
def unit():
    made = nn.BlockResidualUnit(2, rngs=nnx.Rngs(0))
    made.eval()
    return made


CHAIN = lists(geometry=block.geometry(SHAPE, SIZE, kernel_sizes=(1, 3, 1)))
CALL_UNIT = section(
    "nn.BlockResidualUnit.__call__",
    lambda x, blocks, base=None: unit()(x, blocks, base),
    {"x": IMAGE, "blocks": CHAIN},
    *NO_IMAGE,
    ("x", "of other channels", f32(1, *SHAPE, 3), value_error("x must be of rank 4 and 2 channels")),
    ("x", "of another spatial shape than the blocks", f32(1, 7, 7, 2), value_error("blocks.geometry must be that of this unit, unit.geometry((7, 7), block_size)")),
    *BLOCKS,
    ("blocks", "of a single convolution", lists(), value_error("blocks.geometry must be that of this unit")),
    ("base", "given, with an identity shortcut", IMAGE, value_error("base must be None for an identity shortcut, which adds onto x")),
)  # fmt: skip

UNIT_GEOMETRY = section(
    "nn.BlockResidualUnit.geometry",
    lambda spatial_shape, block_size: unit().geometry(spatial_shape, block_size),
    {"spatial_shape": SHAPE, "block_size": SIZE},
    ("spatial_shape", "of another length", (6,), value_error("kernel_sizes[0] must be an integer or 1 of them")),
    ("block_size", "smaller than the kernel", 2, value_error("block_size must be at least (3, 3) for one output pixel")),
)  # fmt: skip

MASKS = (
    *section(
        "nn.straight_through_mask",
        nn.straight_through_mask,
        {"scores": f32(1, 3)},
        ("scores", "bool", np.ones((1, 3), bool), type_error("scores must be of dtype float16")),
        ("scores", "not an array", object(), type_error("scores must be an array")),
        ("threshold", "NaN", float("nan"), value_error("threshold must be a number, not NaN")),
        ("threshold", "a string", "half", type_error("threshold must be a number")),
        ("threshold", "infinite", np.inf, Defined("all 0", lambda y: not y.any())),
    ),
    *section(
        "nn.resize_mask",
        nn.resize_mask,
        {"mask": f32(1, 4, 6), "spatial_shape": (2, 3)},
        ("mask", "integers", np.ones((1, 4, 6), np.int32), type_error("mask must be of dtype bool, float16")),
        ("mask", "with channels", f32(1, 4, 6, 1), value_error("mask must be of shape [batch, *spatial] with 2 spatial dimensions")),
        ("spatial_shape", "not over a whole number", (2, 4), value_error("spatial_shape[1] must be such that one of 6 and 4 is the other over a whole number")),
        ("spatial_shape", "an integer", 3, type_error("spatial_shape must be a sequence")),
    ),
)  # fmt: skip

TINY = {
    "in_features": 2, "stem_features": (2,), "features": (2, 2), "units": (1, 1), "neck_features": 2,
    "upsample_features": (2,), "block_sizes": (5, 5, 5), "rngs": RNGS,
}  # fmt: skip
DETECTOR = section(
    "models.BlockDetector",
    models.BlockDetector,
    TINY,
    *sizes_of("in_features"),
    *sizes_of("neck_features"),
    *sizes_of("classes")[:1],
    *sizes_of("box_features")[:1],
    *sizes_of("orientation_features")[:1],
    ("stem_features", "empty", (), value_error("stem_features must be a sequence of integers, got ()")),
    ("stem_features", "an integer", 32, type_error("stem_features must be a sequence of integers, got 32")),
    ("features", "a width of 0", (2, 0), value_error("features[1] must be at least 1, got 0")),
    ("units", "not one a stage", (1,), value_error("units must be 2 integers, one a stage, got (1,)")),
    ("bottleneck_features", "not one a stage", (1,), value_error("bottleneck_features must be 2 integers, one a stage")),
    ("upsample_features", "as many as stages", (2, 2), value_error("upsample_features must be at most 1 numbers, one less than stages")),
    ("block_sizes", "one a stage", (5, 5), value_error("block_sizes must be 3 integers, one more than stages")),
    ("density", "0", 0, value_error("density must be a positive, finite number")),
    ("density", "not one a list", {"density": {"stem": 0.5}}, value_error("density must be a number, or one for each of")),
    ("class_prior", "1", 1, value_error("class_prior must be above 0 and below 1, got 1")),
    ("class_prior", "a string", "rare", type_error("class_prior must be a number")),
    ("background", "infinite", -np.inf, value_error("background must be finite")),
    ("momentum", "above 1", 1.5, value_error("momentum must be finite and at least 0 and at most 1")),
    ("epsilon", "negative", -1.0, value_error("epsilon must be finite and at least 0")),
    *DTYPES,
    AS_LAX,
    OVER_A_MESH,
)  # fmt: skip


@functools.cache
def detector():
    model = models.BlockDetector(**(TINY | {"rngs": nnx.Rngs(0)}))
    model.eval()
    return model


CALL_DETECTOR = (
    *section(
        "models.BlockDetector.__call__",
        lambda x, blocks=None, gate=None: detector()(x, blocks, gate=gate),
        {"x": f32(1, 8, 8, 2)},
        *NO_IMAGE,
        ("x", "of other channels", f32(1, 8, 8, 3), value_error("x must be of shape [batch, height, width, 2]")),
        ("blocks", "a list of blocks", lists(), value_error("blocks must be what blocks() returned")),
        ("blocks", "some left out", {"blocks": {}}, value_error("blocks must be what blocks() returned")),
        ("gate", "bool", np.ones((1, 8, 8), bool), type_error("gate must be of dtype float16")),
    ),
    *section(
        "models.BlockDetector.blocks",
        lambda **arguments: detector().blocks(**arguments),
        {"mask": f32(1, 8, 8), "spatial_shape": (8, 8)},
        ("mask", "integers", np.ones((1, 8, 8), np.int32), type_error("mask must be of dtype bool, float16")),
        ("mask", "at no resolution of the network", f32(1, 5, 8), value_error("spatial_shape[0] must be such that one of 5 and 8 is the other over a whole number")),
        ("spatial_shape", "3 dimensions", (8, 8, 8), value_error("spatial_shape must be 2 integers")),
    ),
    *section(
        "models.BlockDetector.densities",
        lambda **arguments: detector().densities(**arguments),
        {"mask": np.ones((1, 8, 8), bool), "spatial_shape": (8, 8)},
        ("mask", "integers", np.ones((1, 8, 8), np.int32), type_error("resize_mask: mask must be of dtype bool")),
        ("mask", "all 0", np.zeros((1, 8, 8), np.float32), Defined("room for one block", lambda found: min(found.values()) > 0)),
        ("spatial_shape", "of another length", (8,), value_error("spatial_shape must be 2 integers")),
        ("headroom", "below 1", 0.5, value_error("headroom must be finite and at least 1")),
    ),
    *section(
        "models.BlockDetector.geometries",
        lambda spatial_shape: detector().geometries(spatial_shape),
        {},
        ("spatial_shape", "an integer", 8, type_error("spatial_shape must be a sequence")),
    ),
)  # fmt: skip


@functools.cache
def network():
    model = models.PSPNet(
        2, features=(2,), units=(1,), strides=(1,), kernel_dilations=(1,), bins=(1,), rngs=nnx.Rngs(0)
    )  # fmt: skip
    model.eval()
    return model


PSPNET = (
    *section(
        "models.PSPNet",
        models.PSPNet,
        {"in_features": 2, "features": (2,), "units": (1,), "strides": (1,), "kernel_dilations": (1,), "rngs": RNGS},
        *sizes_of("in_features"),
        *sizes_of("downsample"),
        ("features", "an integer", 32, type_error("features must be a sequence of integers, got 32")),
        ("units", "not one a stage", (1, 1), value_error("units must be 1 integers, one a stage")),
        ("strides", "0", (0,), value_error("strides[0] must be at least 1, got 0")),
        ("kernel_dilations", "not one a stage", (1, 1), value_error("kernel_dilations must be 1 integers, one a stage")),
        ("bins", "empty", (), value_error("bins must be a sequence of integers")),
        ("momentum", "above 1", 1.5, value_error("momentum must be finite and at least 0 and at most 1")),
        ("epsilon", "negative", -1.0, value_error("epsilon must be finite and at least 0")),
        *DTYPES,
        AS_LAX,
        OVER_A_MESH,
    ),
    *section(
        "models.PSPNet.__call__",
        lambda x: network()(x),
        {},
        *NO_IMAGE,
        ("x", "of other channels", f32(1, 8, 8, 3), value_error("x must be of shape [batch, height, width, 2]")),
        ("x", "smaller than a mask pixel", f32(1, 3, 3, 2), Defined("one mask pixel", lambda y: y.shape == (1, 1, 1))),
    ),
)  # fmt: skip

BLOCK_LAYERS = [
    *CONV, *CALL_CONV, *GEOMETRY, *ON_WINDOWS, *NORM, *UNIT, *CALL_UNIT, *UNIT_GEOMETRY, *MASKS, *DETECTOR, *CALL_DETECTOR, *PSPNET,
]  # fmt: skip
