"""Rows of the table of arguments: the layers of `jaxsparse.nn` over the operations of `argument_kit.py`."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsparse import direct, nn
from tests.argument_kit import coarse, onto
from tests.argument_rows import (
    CAPACITY,
    CONTAINER,
    WINDOWS,
    Defined,
    Late,
    container,
    f32,
    roomy,
    section,
    type_error,
    value_error,
    x,
)

BAD_SPARSE = CONTAINER[1:]  # the first is an array
DENSE = f32(1, 4, 5, 2)
BAD_RANK = (
    ("x", "neither a container nor an array", object(), type_error("x must be an array")),
    ("x", "an array of rank 2", f32(4, 5), value_error("x must be of shape [batch, *spatial, channels]")),
    ("x", "an array of 5 spatial dimensions", f32(1, 2, 2, 2, 2, 2, 1), value_error("with 1 to 4 spatial dimensions")),
)  # fmt: skip

AVG_POOL = section(
    "nn.avg_pool",
    nn.avg_pool,
    {"x": x(), "window_shape": 2},
    *BAD_SPARSE,
    *BAD_RANK,
    ("window_shape", "0", 0, value_error("window_shape must be at least 1, got 0")),
    ("window_shape", "0, dense", {"x": DENSE, "window_shape": 0}, value_error("window_shape must be at least 1, got 0")),
    ("window_shape", "negative", {"x": DENSE, "window_shape": (2, -1)}, value_error("window_shape[1] must be at least 1, got -1")),
    ("window_shape", "of another length", {"x": DENSE, "window_shape": (2,)}, value_error("window_shape must be an integer or 2 of them")),
    ("window_shape", "a float", {"x": DENSE, "window_shape": 2.0}, type_error("window_shape must be an integer or 2 of them")),
    ("window_shape", "larger than the input", 100, Defined("one output voxel", lambda y: y.shape == (1, 1, 1, 2))),
    *WINDOWS,
    *CAPACITY,
    ("capacity", "given with a dense array", {"x": DENSE, "capacity": 3}, value_error("capacity must be left out for a dense array, got 3")),
    roomy("the output's volume"),
)  # fmt: skip

GLOBAL = tuple(
    row
    for name in ("global_max_pool", "global_avg_pool")
    for row in section(f"nn.{name}", getattr(nn, name), {"x": x()}, *BAD_SPARSE, *BAD_RANK)
)

UNPOOL = section(
    "nn.unpool",
    nn.unpool,
    {"x": coarse(), "onto": onto(), "strides": (2, 3)},
    ("x", "a container, onto an array", {"onto": DENSE}, type_error("onto must be a direct.SparseTensor, as x")),
    ("x", "an array of another spatial shape than onto's over the strides", {"x": DENSE, "onto": DENSE}, value_error("x must be of spatial shape ceil((4, 5) / (2, 3)) = (2, 2)")),
    ("onto", "a container, x an array", {"x": f32(1, 2, 2, 2)}, type_error("onto must be no direct.SparseTensor, as x")),
    ("onto", "an array of another rank", {"x": f32(1, 2, 2, 2), "onto": f32(1, 4, 2)}, value_error("onto must be of rank 4 as x")),
    ("strides", "0", {"x": f32(1, 2, 2, 2), "onto": DENSE, "strides": 0}, value_error("strides must be at least 1, got 0")),
    ("strides", "a float", {"x": f32(1, 2, 2, 2), "onto": DENSE, "strides": 2.0}, type_error("strides must be an integer")),
    ("strides", "left out", {"x": f32(1, 2, 2, 2), "onto": DENSE, "strides": None}, Defined("the smallest between the shapes", lambda y: y.shape == (1, 4, 5, 2))),
)  # fmt: skip

LEAKY_RELU = section(
    "nn.leaky_relu",
    nn.leaky_relu,
    {"x": x()},
    *BAD_SPARSE,
    ("x", "neither a container nor an array", object(), type_error("x must be an array")),
    ("x", "an array of integers", np.ones((1, 4, 5, 2), np.int32), type_error("x must be of dtype float16")),
    ("slope", "NaN", {"x": DENSE, "slope": float("nan")}, value_error("slope must be finite, got nan")),
    ("slope", "a string", {"x": DENSE, "slope": "0.1"}, type_error("slope must be a number, known at trace time")),
)  # fmt: skip

ADD = section(
    "nn.add",
    nn.add,
    {"x": x(), "y": x()},
    ("x", "a container, y an array", {"y": DENSE}, type_error("y must be a direct.SparseTensor, as x")),
    ("y", "an array of another shape", {"x": DENSE, "y": f32(1, 5, 4, 2)}, value_error("y must be of shape (1, 4, 5, 2) (that of x)")),
    ("y", "not an array", {"x": DENSE, "y": object()}, type_error("y must be an array")),
    *CAPACITY,
    ("capacity", "given with arrays", {"x": DENSE, "y": DENSE, "capacity": 3}, value_error("capacity must be left out for a dense array, got 3")),
)  # fmt: skip

CONCAT = section(
    "nn.concat",
    nn.concat,
    {"xs": Late(lambda: [container(), container()])},
    ("xs", "a container", x(), type_error("xs must be a sequence of direct.SparseTensor, of voxel.VoxelTensor or of arrays")),
    ("xs", "nothing", (), value_error("xs must be at least one activation")),
    ("xs", "containers and arrays", Late(lambda: [container(), DENSE]), type_error("xs[1] must be a direct.SparseTensor, as xs[0]")),
    ("xs", "arrays of several spatial shapes", Late(lambda: [DENSE, f32(1, 5, 4, 2)]), value_error("xs[1] must be of shape (1, 4, 5, 2) (that of xs[0], but for the channels)")),
)  # fmt: skip


def normalise(x, **how):
    return nn.BatchNorm(2, axis=how.pop("axis", -1), rngs=nnx.Rngs(0))(x, **how)


BATCH_NORM = section(
    "nn.BatchNorm.__call__",
    normalise,
    {"x": x()},
    *BAD_SPARSE,
    ("x", "of other channels", Late(lambda: direct.concat([container()] * 2)), value_error("the number of channels must be 2 for this SparseTensor, got 4")),
    ("x", "a container, and an axis that is not the last", {"axis": 1}, value_error("axis must be -1 for this SparseTensor, got 1")),
    ("use_running_average", "True", True, Defined("the running statistics, which stay", lambda y: y.nnz.tolist() == [[3, 1]])),
    ("mask", "given with a container", f32(1, 4, 5, 2), value_error("mask must be None for this SparseTensor")),
)  # fmt: skip


def drop(inputs, deterministic=False, rngs=None, broadcast_dims=()):
    layer = nn.Dropout(0.5, broadcast_dims=broadcast_dims)
    return layer(inputs, deterministic=deterministic, rngs=rngs)


DROPOUT = section(
    "nn.Dropout.__call__",
    drop,
    {"inputs": x(), "rngs": Late(lambda: nnx.Rngs(dropout=0))},
    ("inputs", "a container, and dimensions that share a mask", {"broadcast_dims": (1,)}, value_error("broadcast_dims must be empty for a SparseTensor")),
    ("deterministic", "nowhere given", {"deterministic": None}, Defined("the layer's, False", lambda y: y.nnz.tolist() == [[3, 1]])),
    ("deterministic", "True", True, Defined("x itself", lambda y: y.values.tolist() == [[[1, 2, 3], [4, 0, 0]]])),
    ("rngs", "None, here and in the layer", {"rngs": None}, value_error("rngs must be nnx.Rngs, nnx.RngStream or a key")),
    ("rngs", "an integer", 3, type_error("rngs must be nnx.Rngs, nnx.RngStream or a key")),
    ("rngs", "a key", Late(lambda: jax.random.key(0)), Defined("used as it is", lambda y: y.values.dtype == jnp.float32)),
)  # fmt: skip

KIT_LAYERS = [
    *AVG_POOL, *GLOBAL, *UNPOOL, *LEAKY_RELU, *ADD, *CONCAT, *BATCH_NORM, *DROPOUT,
]  # fmt: skip
