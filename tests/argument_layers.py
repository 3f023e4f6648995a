"""The rows for `jaxsparse.nn`, `jaxsparse.models` and `xla_kernels`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import xla_kernels
from jaxsparse import models, nn
from tests.argument_rows import (
    CAPACITY,
    CONTAINER,
    DENSITY,
    WINDOWS,
    Defined,
    Late,
    Row,
    container,
    f32,
    i32,
    roomy,
    section,
    type_error,
    value_error,
    x,
)

# A convolution is built before it sees an input: how many voxels a density is, it says when it is called.
RATES = tuple(row for row in DENSITY if row[1] != "so small that no entry fits")
RNGS = Late(lambda: nnx.Rngs(0))
DTYPES = (
    ("dtype", "integers", jnp.int32, type_error("dtype must be one of float16, bfloat16, float32, float64")),
    ("dtype", "no dtype", "thin", type_error("dtype must be one of float16, bfloat16, float32, float64")),
    ("param_dtype", "None", None, type_error("param_dtype must be one of float16")),
    ("param_dtype", "complex numbers", np.complex64, type_error("param_dtype must be one of float16")),
    ("kernel_init", "not a function", 0.1, type_error("kernel_init must be a function (key, shape, dtype) -> array")),
    ("rngs", "a key", Late(lambda: jax.random.key(0)), type_error("rngs must be nnx.Rngs")),
)  # fmt: skip


def sizes_of(name: str) -> tuple:
    return (
        (name, "0", 0, value_error(f"{name} must be at least 1, got 0")),
        (name, "negative", -2, value_error(f"{name} must be at least 1, got -2")),
        (name, "a float", 8.0, type_error(f"{name} must be an integer, got 8.0")),
    )


# --- nn ----------------------------------------------------------------------------------------------------------

DIRECT_CONV = section(
    "nn.DirectConv",
    nn.DirectConv,
    {"in_features": 2, "out_features": 4, "kernel_size": (3, 3), "rngs": RNGS},
    *sizes_of("in_features"),
    *sizes_of("out_features"),
    ("kernel_size", "0", 0, value_error("kernel_size must be at least 1, got 0")),
    ("kernel_size", "negative", (3, -3), value_error("kernel_size[1] must be at least 1, got -3")),
    ("kernel_size", "5 dimensions", (1,) * 5, value_error("kernel_size must be an integer or 1 to 4 of them")),
    ("kernel_size", "empty", (), value_error("kernel_size must be an integer or 1 to 4 of them")),
    ("kernel_size", "a float", 3.0, type_error("kernel_size must be an integer or a sequence of 1 to 4")),
    ("kernel_size", "a string", "33", type_error("kernel_size must be an integer or a sequence of 1 to 4")),
    ("kernel_size", "an integer", 3, Defined("one spatial dimension", lambda layer: layer.kernel_size == (3,))),
    *WINDOWS,
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("padding", "None", None, type_error('padding must be "SAME", "VALID"')),
    ("padding", "pairs for another number of dimensions", ((1, 1),), value_error('padding must be "SAME", "VALID"')),
    ("padding", "floats", ((0.5, 1), (1, 1)), type_error("padding must be an integer")),
    ("kernel_dilation", "0", 0, value_error("kernel_dilation must be at least 1, got 0")),
    ("kernel_dilation", "of another length", (1,), value_error("kernel_dilation must be an integer or 2 of them")),
    ("kernel_dilation", "a float", 2.0, type_error("kernel_dilation must be an integer")),
    ("use_bias", "False", False, Defined("no bias", lambda layer: layer.bias is None)),
    ("mask", "of floats", f32(3, 3, 2, 4), type_error("mask must be of dtype bool")),
    ("mask", "of another shape", np.ones((3, 3, 4, 2), bool), value_error("mask must be of shape (3, 3, 2, 4)")),
    ("mask", "not an array", object(), type_error("mask must be an array")),
    *CAPACITY,
    *RATES,
    ("select", "an unknown word", "strongest", value_error("select must be one of ['value', 'magnitude', 'relu']")),
    ("select", "not a string", 0, type_error("select must be one of")),
    *DTYPES,
    ("bias_init", "not a function", 0.0, type_error("bias_init must be a function (key, shape, dtype) -> array")),
)  # fmt: skip


@functools.cache
def layer(**options):
    return nn.DirectConv(2, 4, (3, 3), **options, rngs=nnx.Rngs(0))


def call_layer(x, **options):
    return layer(**options)(x)


CALL_DIRECT_CONV = section(
    "nn.DirectConv.__call__",
    call_layer,
    {"x": x()},
    *CONTAINER,
    ("x", "of other channels", x(keys=np.zeros((1, 1, 1), np.int32), values=f32(1, 1, 1), nnz=np.ones((1, 1), np.int32)), value_error("with in = 1, the channels of x")),
    ("x", "of another number of spatial dimensions", x(spatial_shape=(20,)), value_error("kernel must be of rank 3")),
    ("x", "so few voxels that a density is no entry", {"x": x(), "density": 1e-9}, value_error("density must be such that 1 to")),
    ("x", "fewer voxels than the window, padding VALID", {"x": x(spatial_shape=(2, 10)), "padding": "VALID"}, value_error("kernel must be at most as large as the padded input")),
)  # fmt: skip

SET_VIEW = section(
    "nn.DirectConv.set_view",
    lambda use_running_average: nnx.view(
        nn.DirectConv(2, 4, (3, 3), rngs=nnx.Rngs(0)), use_running_average=use_running_average
    ),
    {},
    ("use_running_average", "None", None, Defined("as it was", lambda layer: layer.use_running_average is False)),
    ("use_running_average", "True", True, Defined("the measured density stays as it is", lambda layer: layer.use_running_average is True)),
)  # fmt: skip

BAD_DENSE = (
    ("x", "neither a container nor an array", object(), type_error("x must be an array")),
    (
        "x",
        "an array of integers",
        np.ones((1, 4, 5, 2), np.int32),
        type_error("x must be of dtype float16"),
    ),
)
BAD_SPARSE = CONTAINER[1:]  # the first is an array

MAX_POOL = section(
    "nn.max_pool",
    nn.max_pool,
    {"x": x(), "window_shape": 2},
    *BAD_SPARSE,
    *BAD_DENSE,
    ("x", "an array of rank 2", f32(4, 5), value_error("x must be of shape [batch, *spatial, channels]")),
    ("x", "an array of 5 spatial dimensions", f32(1, 2, 2, 2, 2, 2, 1), value_error("with 1 to 4 spatial dimensions")),
    ("window_shape", "0", 0, value_error("window_shape must be at least 1, got 0")),
    ("window_shape", "0, dense", {"x": f32(1, 4, 5, 2), "window_shape": 0}, value_error("window_shape must be at least 1, got 0")),
    ("window_shape", "negative", (2, -1), value_error("window_shape[1] must be at least 1, got -1")),
    ("window_shape", "of another length", (2,), value_error("window_shape must be an integer or 2 of them")),
    ("window_shape", "a float, dense", {"x": f32(1, 4, 5, 2), "window_shape": 2.0}, type_error("window_shape must be an integer or 2 of them")),
    ("window_shape", "larger than the input", 100, Defined("one output voxel", lambda y: y.shape == (1, 1, 1, 2))),
    ("window_shape", "larger than the input, dense", {"x": f32(1, 4, 5, 2), "window_shape": 2**31 - 1}, Defined("one output voxel", lambda y: y.shape == (1, 1, 1, 2))),
    ("window_shape", "of more than 2^24 voxels that overlap", {"x": x(spatial_shape=(2**13, 2**13)), "window_shape": 2**13, "strides": 1}, value_error("window_shape must be of at most 16777216 voxels")),
    *WINDOWS,
    *CAPACITY,
    ("capacity", "given with a dense array", {"x": f32(1, 4, 5, 2), "capacity": 3}, value_error("capacity must be left out for a dense array, got 3")),
    roomy("the output's volume"),
)  # fmt: skip

RELU = section("nn.relu", nn.relu, {}, *BAD_SPARSE, *BAD_DENSE)
TO_DENSE = section("nn.to_dense", nn.to_dense, {}, *BAD_SPARSE, *BAD_DENSE)


def variables(kind: str):
    """They take what `nnx.Variable` takes and look at none of it."""
    return section(
        f"nn.{kind}",
        getattr(nn, kind),
        {},
        ("value", "anything", f32(2), Defined("held as it is: the layer checks", lambda v: v[...].shape == (2,))),
        ("metadata", "anything", {"value": f32(2), "note": "mine"}, Defined("held as it is", lambda v: v.note == "mine")),
    )  # fmt: skip


# Late: making the layers runs JAX.
LAYER = Late(layer)
NO_MODULE = ("model", "a function", len, type_error("model must be an nnx.Module"))
CALIBRATE = section(
    "nn.calibrate",
    nn.calibrate,
    {"model": LAYER, "batches": [x()]},
    NO_MODULE,
    ("batches", "empty", [], value_error("batches must be at least one that runs a DirectConv of the model")),
    ("batches", "a number", 3, type_error("batches must be an iterable of inputs")),
    ("headroom", "0", 0, value_error("headroom must be a positive, finite number")),
    ("headroom", "a string", "some", type_error("headroom must be a number")),
)  # fmt: skip
REPORT = section(
    "nn.report",
    lambda model, inputs=(): nn.report(model, *inputs),
    {"model": LAYER},
    NO_MODULE,
    ("inputs", "none", {}, Defined("what is known without running", lambda table: table.rows[0].entries is None)),
)  # fmt: skip
COMPACT = section(
    "nn.compact",
    lambda model, inputs=(): nn.compact(model, *inputs),
    {"model": LAYER},
    NO_MODULE,
    ("inputs", "none", {}, Defined("every layer is judged by its own mask", lambda layer: layer.kernel.shape == (3, 3, 2, 4))),
    ("inputs", "other channels than the model's", Late(lambda: (container(keys=i32([[[3]]]), values=f32(1, 1, 1), nnz=i32([[1]])),)), value_error("in = 1, the channels of x")),
)  # fmt: skip
DENSITIES = section(
    "nn.densities",
    nn.densities,
    {"model": LAYER},
    NO_MODULE,
    ("per", "channel", "channel", Defined("one for each output channel", lambda tree: tree["kernel"].shape == (4,))),
    ("per", "an unknown word", "filter", value_error("per must be 'layer' or 'channel', got 'filter'")),
)  # fmt: skip
SET_MASKS = section(
    "nn.set_masks",
    nn.set_masks,
    {"model": LAYER, "masks": {"kernel": np.ones((3, 3, 2, 4), bool)}},
    NO_MODULE,
    ("masks", "without a kernel of the model", {"masks": {}}, value_error("masks must be a tree with a mask for the kernel")),
    ("masks", "of floats", {"masks": {"kernel": f32(3, 3, 2, 4)}}, type_error("masks.kernel must be of dtype bool")),
    ("masks", "of another shape", {"masks": {"kernel": np.ones((3, 2, 4), bool)}}, value_error("masks.kernel must be of shape (3, 3, 2, 4)")),
)  # fmt: skip


# --- models ------------------------------------------------------------------------------------------------------

OCTNET3 = section(
    "models.OctNet3",
    models.OctNet3,
    {"spatial_shape": (4, 5), "classes": 3, "in_features": 2, "stages": ((2,), (3,)), "hidden": 4, "rngs": RNGS},
    ("spatial_shape", "an integer", 20, type_error("spatial_shape must be a sequence")),
    ("spatial_shape", "5 dimensions", (2, 2, 2, 2, 2), value_error("spatial_shape must be 1 to 4 integers")),
    ("spatial_shape", "a size of 0", (4, 0), value_error("spatial_shape[1] must be at least 1")),
    ("spatial_shape", "a volume of 2^31 voxels", (2**16, 2**15), value_error("spatial_shape must be of at most 2147483647 voxels")),
    *sizes_of("classes"),
    *sizes_of("in_features"),
    *sizes_of("hidden"),
    *sizes_of("kernel_size"),
    ("stages", "no stage", {"stages": (), "densities": ()}, value_error("stages must be a sequence of stages")),
    ("stages", "a stage of no layer", ((2,), ()), value_error("stages must be a sequence of stages")),
    ("stages", "a list of widths", (8, 16), type_error("stages must be a sequence of stages")),
    ("stages", "a width of 0", ((2,), (0,)), value_error("stages[1][0] must be at least 1, got 0")),
    ("stages", "None, and a shape that is not in Table 4", None, value_error("stages must be given for a spatial shape that is not in Table 4")),
    ("dense_stages", "a list of widths", (8, 16), type_error("dense_stages must be a sequence of stages")),
    ("dense_stages", "a width of 0", ((0,),), value_error("dense_stages[0][0] must be at least 1, got 0")),
    ("densities", "an unknown preset", "imagenet", value_error("densities must be a sequence of 2 densities or a preset")),
    ("densities", "of another length than stages", (0.5,), value_error("densities must be a sequence of 2 densities, one a stage")),
    ("densities", "a number", 0.5, type_error("densities must be a sequence of 2 densities, one a stage")),
    ("densities", "a density of 0", (0.5, 0), value_error("densities[1] must be a positive, finite number")),
    ("input_density", "0", 0, value_error("input_density must be a positive, finite number")),
    ("input_density", "a string", "half", type_error("input_density must be a number")),
    ("select", "an unknown word", "strongest", value_error("select must be one of ['value', 'magnitude', 'relu']")),
    ("use_bias", "False", False, Defined("no bias", lambda model: model.convs[0].bias is None)),
    ("dropout", "above 1", 1.5, value_error("dropout must be finite and at least 0 and at most 1, got 1.5")),
    ("dropout", "a string", "half", type_error("dropout must be a number")),
    ("sparse", "False", False, Defined("the dense twin", lambda model: isinstance(model.convs[0], nnx.Conv))),
    *DTYPES,
)  # fmt: skip


@functools.cache
def model(sparse=True, train=False):
    made = models.OctNet3(
        (4, 5), 3, in_features=2, stages=((2,), (3,)), hidden=4, sparse=sparse, rngs=nnx.Rngs(0)
    )
    made.train() if train else made.eval()
    return made


BAD_INPUT = (
    *BAD_SPARSE,
    *BAD_DENSE,
    ("x", "of another spatial shape", f32(1, 5, 5, 2), value_error("x must be of shape [batch, 4, 5, 2], got shape (1, 5, 5, 2)")),
    ("x", "of other channels", f32(1, 4, 5, 1), value_error("x must be of shape [batch, 4, 5, 2]")),
    ("x", "a container, dense twin", {"x": x(), "sparse": False}, type_error("x must be an array for the dense twin")),
)  # fmt: skip
NO_RNGS = ("rngs", "None, in training mode", {"train": True}, value_error("rngs must be nnx.Rngs with a dropout stream in training mode"))  # fmt: skip

CALL_OCTNET3 = section(
    "models.OctNet3.__call__",
    lambda x, rngs=None, **how: model(**how)(x, rngs=rngs),
    {"x": x()},
    *BAD_INPUT,
    NO_RNGS,
)
ACTIVATIONS = section(
    "models.OctNet3.activations",
    lambda x, **how: model(**how).activations(x),
    {"x": x()},
    *BAD_INPUT,
)
HEAD = section(
    "models.OctNet3.head",
    lambda x, rngs=None, **how: model(**how).head(x, rngs=rngs),
    {"x": f32(1, 2, 3, 3)},
    *BAD_SPARSE,
    *BAD_DENSE,
    ("x", "of another number of features", f32(1, 2, 3, 2), value_error("x must be of 18 features a batch element, got shape (1, 2, 3, 2)")),
    NO_RNGS,
)  # fmt: skip

OCTNET3_24 = section(
    "models.octnet3_24",
    models.octnet3_24,
    {"rngs": RNGS},
    *sizes_of("image_size")[:1],
    *sizes_of("classes")[:1],
    ("rho1", "0", 0.0, value_error("rho1 must be a positive, finite number")),
    ("rho1", "a string", "half", type_error("rho1 must be a number")),
    ("rho2", "negative", -0.5, value_error("rho2 must be a positive, finite number")),
    ("rngs", "a key", Late(lambda: jax.random.key(0)), type_error("rngs must be nnx.Rngs")),
    ("options", "one that `OctNet3` refuses", {"hidden": 0}, value_error("hidden must be at least 1, got 0")),
)  # fmt: skip


# --- xla_kernels -------------------------------------------------------------------------------------------------

WORKSPACE_BYTES = section(
    "xla_kernels.workspace_bytes",
    lambda op, sizes: xla_kernels.workspace_bytes(op, **sizes),
    {"op": "put_add", "sizes": {"capacity": 3, "itemsize": 4}},
    ("op", "an unknown word", "convolve", value_error("op must be one of")),
    ("op", "not a string", 0, value_error("op must be one of")),
    ("sizes", "some left out", {"op": "from_dense"}, type_error("the sizes of from_dense must be spatial_shape, channels")),
    ("sizes", "one too many", {"sizes": {"capacity": 3, "itemsize": 4, "channels": 3}}, type_error("the sizes of put_add must be capacity, itemsize, got capacity, itemsize, channels")),
    ("sizes", "some for a kernel that has no workspace", {"op": "relu"}, type_error("relu takes no sizes, got ['capacity', 'itemsize']")),
    ("sizes", "a float", {"sizes": {"capacity": 3.0, "itemsize": 4}}, type_error("capacity must be an integer, got 3.0")),
    ("sizes", "a bool", {"sizes": {"capacity": True, "itemsize": 4}}, type_error("capacity must be an integer, got True")),
    ("sizes", "an integer for a list", {"op": "from_dense", "sizes": {"spatial_shape": 4, "channels": 1, "out_capacity": 1, "itemsize": 4}}, type_error("spatial_shape must be a list of integers, got 4")),
    ("sizes", "beyond int64", {"sizes": {"capacity": 2**63, "itemsize": 4}}, value_error("capacity must be within int64")),
    ("sizes", "0", {"sizes": {"capacity": 0, "itemsize": 4}}, value_error("the sizes of put_add do not fit")),
    ("sizes", "an itemsize that no dtype has", {"sizes": {"capacity": 3, "itemsize": 3}}, value_error("itemsize must be 2, 4 or 8")),
)  # fmt: skip

LAYERS: list[Row] = [
    *DIRECT_CONV, *CALL_DIRECT_CONV, *SET_VIEW, *MAX_POOL, *RELU, *TO_DENSE, *variables("Density"),
    *variables("PruningMask"), *CALIBRATE, *REPORT, *COMPACT, *DENSITIES, *SET_MASKS, *OCTNET3, *CALL_OCTNET3, *ACTIVATIONS, *HEAD, *OCTNET3_24, *WORKSPACE_BYTES,
]  # fmt: skip
