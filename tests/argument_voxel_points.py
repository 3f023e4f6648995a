"""Rows of the table of arguments: the container of `jaxsparse.voxel`, its plans, parts, and points."""

import jax.numpy as jnp
import numpy as np

from jaxsparse import voxel
from tests.argument_rows import (
    CAPACITY,
    Defined,
    Traced,
    f32,
    i32,
    section,
    type_error,
    value_error,
)
from tests.argument_voxel_rows import COORDS, v, voxels

ROWS = i32([[0, 0, 1], [0, 3, 4], [0, 2, 2]])
GROUNDS = (
    ("background", "of another number of channels", f32(3), value_error("background must be of shape (2,)")),
    ("background", "of another dtype", np.ones(2, np.float16), type_error("background must be of the dtype of")),
    ("background", "integers", i32([1, 2]), type_error("background must be of dtype float16")),
)  # fmt: skip
BATCH_SIZE = (
    ("batch_size", "0", 0, value_error("batch_size must be at least 1")),
    ("batch_size", "a float", 1.0, type_error("batch_size must be an integer")),
)
COUNT = (
    ("count", "a float", 2.0, type_error("count must be an integer scalar")),
    ("count", "a vector", i32([2]), type_error("count must be an integer scalar")),
)
FROM_COORDS = section(
    "voxel.VoxelTensor.from_coords",
    voxel.VoxelTensor.from_coords,
    {"coords": ROWS, "features": f32(3, 2), "batch_size": 1, "spatial_shape": (4, 5)},
    ("coords", "of another number of columns", ROWS[:, :2], value_error("coords must be of shape [N, 3]")),
    ("coords", "floats", ROWS.astype(np.float32), type_error("coords must be of an integer dtype")),
    ("coords", "a voxel out of range", ROWS + i32([0, 0, 1]), value_error("coords must be inside (batch_size, *spatial_shape)")),
    ("coords", "out of range, inside `jit`", Traced(coords=ROWS + i32([0, 0, 1])), Defined("such rows are dropped", lambda x: int(x.count) == 2)),
    ("features", "of rank 1", f32(3), value_error("features must be of shape [N, C] with N = 3")),
    ("features", "of another number of rows", f32(2, 2), value_error("features must be of shape [N, C] with N = 3")),
    ("features", "no channels", f32(3, 0), value_error("features must be of shape [N, C]")),
    ("features", "integers", ROWS, type_error("features must be of dtype float16")),
    *BATCH_SIZE,
    ("spatial_shape", "an integer", 20, type_error("spatial_shape must be a sequence")),
    ("spatial_shape", "5 dimensions", (2,) * 5, value_error("spatial_shape must be 1 to 4 integers")),
    ("spatial_shape", "a volume of 2^31 voxels", (2**16, 2**15), value_error("spatial_shape must be of at most 2147483647 voxels")),
    *CAPACITY,
    ("capacity", "fewer than there are sites", 2, Defined("the first in canonical order stay, the others are counted", lambda x: int(x.count) == 3 and int(x.overflow) == 1)),
    ("duplicates", "an unknown word", "last", value_error("duplicates must be one of")),
    ("duplicates", "a site twice, `\"error\"`", {"coords": ROWS[[0, 1, 0]]}, value_error("coords must be free of duplicates")),
    ("duplicates", "a site twice, `\"error\"`, inside `jit`", Traced(coords=ROWS[[0, 1, 0]]), Defined("added up, as `\"sum\"`", lambda x: x.features[0].tolist() == [2, 2])),
    *GROUNDS,
    *COUNT,
    ("count", "0 or negative", -1, Defined("every row is padding", lambda x: int(x.count) == 0)),
)  # fmt: skip

FROM_DENSE = section(
    "voxel.VoxelTensor.from_dense",
    voxel.VoxelTensor.from_dense,
    {"x": f32(1, 4, 5, 2)},
    ("x", "of rank 2", f32(4, 5), value_error("x must be of shape [batch, *spatial, channels]")),
    ("x", "integers", i32([[[1], [2]]]), type_error("x must be of dtype float16")),
    ("x", "an empty batch", f32(0, 4, 1), value_error("x must be of at least one batch element")),
    *CAPACITY,
    ("capacity", "fewer than there are sites", 3, Defined("the first in canonical order stay, the others are counted", lambda x: int(x.count) == 20 and x.capacity == 3)),
    *GROUNDS,
)  # fmt: skip

TO_DENSE = section(
    "voxel.VoxelTensor.to_dense", lambda self: voxel.VoxelTensor.to_dense(self), {"self": v()},
    ("self", "coords of floats", v(coords=f32(3, 3)), type_error("x.coords must be of dtype int32")),
    ("self", "coords that are unsorted or out of range", v(coords=i32([[0, 3, 3], [0, 1, 1], [0, 9, 9]])), Defined("the list ends at the first such row", lambda x: float(x.sum()) == 3)),
)  # fmt: skip

CONTENTS = (
    ("coords", "out of range", v(coords=i32([[0, 0, 1], [0, 3, 5], [1, 0, 0]])), value_error("x.coords must be inside")),
    ("coords", "not ascending", v(coords=COORDS[[1, 0, 2]]), value_error("x.coords must be strictly ascending")),
    ("coords", "an unused row of something else", v(coords=i32([[0, 0, 1], [0, 3, 4], [1, 0, 1]])), value_error("in unused rows, which come last")),
    ("features", "numbers in unused rows", v(features=f32(3, 2)), value_error("x.features must be 0 in unused rows")),
    ("count", "that does not fit the rows", v(count=i32(1)), value_error("x.count must be 2, the number of rows in use")),
    ("batch_size", "0", v(batch_size=0), value_error("x.batch_size must be at least 1")),
    ("spatial_shape", "5 dimensions", v(spatial_shape=(2,) * 5), value_error("spatial_shape must be 1 to 4 integers")),
    ("background", "of another number of channels", v(background=f32(3)), value_error("x.background must be of shape (2,)")),
)  # fmt: skip
VALIDATE = section(
    "voxel.VoxelTensor.validate",
    lambda x: x.validate(),
    {},
    *((argument, given, {"x": value}, says) for argument, given, value, says in CONTENTS),
)


def one(kind="conv", size=3, **changes) -> tuple:
    return (voxel.Layer(kind, size, **changes),)


LAYERS = (
    ("kind", "an unknown word", one("pool"), value_error("layers[0].kind must be one of")),
    ("kernel_size", "0", one(size=0), value_error("layers[0].kernel_size must be at least 1")),
    ("kernel_size", "of another length", one(size=(3,)), value_error("layers[0].kernel_size must be an integer or 2 of them")),
    ("strides", "0", one(strides=0), value_error("strides must be at least 1")),
    ("strides", "of a submanifold convolution", one("submanifold_conv", strides=2), value_error("without strides and padding for submanifold_conv")),
    ("padding", "an unknown word", one(padding="FULL"), value_error('padding must be "SAME", "VALID"')),
    ("kernel_dilation", "0", one(kernel_dilation=0), value_error("kernel_dilation must be at least 1")),
    ("capacity", "0", one(capacity=0), value_error("capacity must be at least 1")),
    ("capacity", "where the sites are given", one("submanifold_conv", capacity=3), value_error("layers[0].capacity must be left out for submanifold_conv")),
)  # fmt: skip
PLAN = (
    *section(
        "voxel.plan", voxel.plan, {"x": v(), "layers": one()}, *voxels(),
        ("layers", "none", (), Defined("no maps", lambda maps: len(maps) == 0)),
        *(("layers", f"a `Layer` whose `{field}` is {given}", layers, says) for field, given, layers, says in LAYERS),
    ),
)  # fmt: skip

SPLIT = section(
    "voxel.split",
    voxel.split,
    {"x": v(), "parts": 1},
    *voxels(),
    ("parts", "0", 0, value_error("parts must be at least 1")),
    ("parts", "no divisor of the batch size", 2, value_error("parts must be a divisor of the batch size, 1")),
    ("parts", "a float", 1.0, type_error("parts must be an integer")),
    *CAPACITY,
    ("capacity", "fewer than there are sites", 1, Defined("the first in canonical order stay", lambda x: x.coords.shape == (1, 1, 3) and x.count.tolist() == [2])),
)  # fmt: skip

EDGES = (
    ("edge", "0", 0.0, value_error("edge must be positive, got 0.0")),
    ("edge", "of another length", (1.0,), value_error("edge must be a number or 2 of them")),
    ("edge", "a string", "1", type_error("edge must be a number, known at trace time")),
)
POINTS = (
    ("points", "integers", i32([[1, 1]] * 3), type_error("points must be of dtype float16")),
    ("points", "of rank 1", f32(3), value_error("points must be of shape [P, ")),
    ("batch", "of another length", i32([0, 0]), value_error("batch must be of shape (3,) (one a point)")),
    ("batch", "floats", f32(3), type_error("batch must be of dtype int32")),
)  # fmt: skip
CLOUD = np.array([[0.5, 0.5], [1.5, 0.5], [9.0, 0.5]], np.float32)
VOXELIZE = section(
    "voxel.voxelize",
    voxel.voxelize,
    {"points": CLOUD, "features": f32(3, 2), "bounds": (0.0, 4.0), "edge": 1.0},
    *POINTS,
    ("points", "outside of the bounds", CLOUD + 1, Defined("dropped and counted", lambda y: int(y.dropped) == 1 and y.rows.tolist() == [0, 1, 3])),
    ("points", "a NaN", CLOUD * np.nan, Defined("dropped and counted", lambda y: int(y.dropped) == 3)),
    ("features", "of another number of rows", f32(2, 2), value_error("features must be of shape [P, C] with P = 3")),
    ("features", "integers", i32([[1]] * 3), type_error("features must be of dtype float16")),
    ("bounds", "a number", 4.0, value_error("bounds must be a pair (lower, upper)")),
    ("bounds", "no whole number of edges apart", (0.0, 4.5), value_error("bounds must be a whole, positive number of edges")),
    ("bounds", "exchanged", (4.0, 0.0), value_error("bounds must be a whole, positive number of edges")),
    ("bounds", "infinite", (0.0, float("inf")), value_error("bounds[1] must be finite")),
    ("bounds", "of 2^31 voxels and more", (0.0, 65536.0), value_error("spatial_shape must be of at most 2147483647 voxels")),
    *EDGES,
    ("batch", "out of range", i32([0, 1, -1]), Defined("dropped and counted", lambda y: int(y.dropped) == 2)),
    *BATCH_SIZE,
    *CAPACITY,
    ("capacity", "fewer than there are voxels", 1, Defined("the first in canonical order stay, the others are counted", lambda y: y.rows.tolist() == [0, 1, 1] and int(y.voxels.count) == 2)),
    ("merge", "an unknown word", "last", value_error("merge must be one of ['mean', 'sum', 'max']")),
    *GROUNDS,
    *COUNT,
)  # fmt: skip
DEVOXELIZE = section(
    "voxel.devoxelize",
    voxel.devoxelize,
    {"x": v(), "points": CLOUD},
    *voxels(),
    *POINTS,
    ("points", "of another number of dimensions", f32(3, 3), value_error("points must be of shape [P, 2]")),
    ("points", "a NaN", CLOUD * np.nan, Defined("NaN", lambda y: bool(jnp.isnan(y).all()))),
    ("batch", "out of range", i32([1, 7, -1]), Defined("the background, 0 without one", lambda y: not y.any())),
    ("lower", "of another length", (0.0,), value_error("lower must be a number or 2 of them")),
    ("lower", "NaN", float("nan"), value_error("lower must be finite")),
    *EDGES,
    ("method", "an unknown word", "cubic", value_error("method must be one of ['linear', 'nearest']")),
)  # fmt: skip

VOXEL_POINTS = [
    *FROM_COORDS, *FROM_DENSE, *TO_DENSE, *VALIDATE, *PLAN, *SPLIT, *VOXELIZE, *DEVOXELIZE
]  # fmt: skip
