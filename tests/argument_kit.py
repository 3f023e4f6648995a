"""Rows of the table of arguments: pooling but for max_pool, unpooling, merging, values, batch normalisation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import direct
from tests.argument_rows import (
    CAPACITY,
    CONTAINER,
    EMPTY,
    EMPTY_BATCH,
    HOLES,
    POOLED,
    SOUND_LISTS_END,
    UNSORTED,
    WINDOWS,
    Defined,
    Late,
    container,
    f32,
    i32,
    keeps,
    roomy,
    section,
    type_error,
    value_error,
    x,
)

KEYS_STAY = "keys and counts stay as they are; entries from the first such key on hold 0"


def named(argument: str) -> tuple:
    """What is said of a bad container that is not called `x`."""
    return tuple(
        (argument, given, value, type(outcome)(outcome.error, outcome.says.replace("x.", f"{argument}.").replace("x must", f"{argument} must")))
        for _, given, value, outcome in CONTAINER
    )  # fmt: skip


def per_channel(name: str) -> tuple:
    return (
        (name, "of another length", f32(3), value_error(f"{name} must be of shape (2,)")),
        (name, "a number", 1.0, value_error(f"{name} must be of shape (2,)")),
        (name, "another dtype than x", np.ones(2, np.float16), type_error(f"{name} must be of the dtype of x, float32")),
        (name, "not an array", object(), type_error(f"{name} must be an array")),
    )  # fmt: skip


AVG_POOL = section(
    "avg_pool",
    direct.avg_pool,
    {"x": x(), "window": 2},
    *CONTAINER,
    *POOLED,
    ("window", "larger than the input, up to 2^31 - 1", 2**31 - 1, Defined("one output voxel: windows are cut at the end", lambda y: y.shape == (1, 1, 1, 2) and y.values.tolist() == [[[2, 0, 0], [4, 0, 0]]])),
    *WINDOWS,
    HOLES,
    *CAPACITY,
    roomy("the output's volume"),
)  # fmt: skip

GLOBAL = tuple(
    row
    for name in ("global_max_pool", "global_avg_pool")
    for row in section(
        name,
        getattr(direct, name),
        {"x": x()},
        *CONTAINER,
        ("x", "an empty batch", EMPTY_BATCH, Defined("an empty batch", lambda y: y.shape == (0, 2))),
        ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(SOUND_LISTS_END, lambda y: y.tolist() == [[1, 0]])),
    )
)  # fmt: skip


def onto(**changes) -> Late:
    """What `max_pool(x, (2, 3))` pools into 2 x 2 voxels."""
    return x(**changes)


def coarse(**changes) -> Late:
    return x(**({"spatial_shape": (2, 2), "keys": i32([[[0, 1, 3], [0, 4, 4]]])} | changes))


UNPOOL = section(
    "unpool",
    direct.unpool,
    {"x": coarse(), "onto": onto(), "strides": (2, 3)},
    *(row for row in CONTAINER if "spatial" not in row[1] and "volume" not in row[1] and "size" not in row[1]),
    ("x", "of another spatial shape than onto's over the strides", x(), value_error("x must be of spatial shape ceil((4, 5) / (2, 3)) = (2, 2)")),
    ("x", "keys that are unsorted, repeated or out of range", coarse(keys=i32([[[1, 0, 3], [-1, 5, 99]]])), Defined(SOUND_LISTS_END + ": later parents are not stored", lambda y: y.values.tolist() == [[[1, 0, 0], [0, 0, 0]]])),
    *named("onto"),
    ("onto", "an empty batch, x too", {"x": Late(lambda: EMPTY_BATCH.make().replace(spatial_shape=(2, 2))), "onto": EMPTY_BATCH}, Defined("an empty batch", lambda y: y.shape == (0, 4, 5, 2))),
    ("onto", "another batch size", EMPTY_BATCH, value_error("onto must be of the batch and channels of x, (1, 2)")),
    ("onto", "other channels", Late(lambda: direct.concat([container()] * 2)), value_error("onto must be of the batch and channels of x, (1, 2)")),
    ("onto", "of another number of dimensions", onto(spatial_shape=(4, 5, 1)), value_error("onto must be of 2 spatial dimensions as x")),
    ("onto", "another dtype than x", Late(lambda: container().replace(values=jnp.ones((1, 2, 3), jnp.float16))), Defined("its values are not looked at", lambda y: y.values.dtype == jnp.float32)),
    ("onto", "keys that are unsorted, repeated or out of range", onto(keys=i32([[[7, 3, 11], [-1, 5, 99]]])), Defined(KEYS_STAY, lambda y: y.values.tolist() == [[[1, 0, 0], [0, 0, 0]]])),
    ("strides", "left out", None, Defined("the smallest between the shapes, here (2, 3)", lambda y: y.values.tolist() == [[[2, 1, 0], [4, 0, 0]]])),
    *WINDOWS,
)  # fmt: skip


class _Tracer:
    """Stands for a value that is traced."""


def with_traced(function, **arguments):
    """Calls a function, an argument that is `_Tracer` traced."""
    if all(value is not _Tracer for value in arguments.values()):
        return function(**arguments)
    (name,) = (name for name, value in arguments.items() if value is _Tracer)
    return jax.jit(lambda value: function(**(arguments | {name: value})))(0.5)


LEAKY_RELU = section(
    "leaky_relu",
    lambda **arguments: with_traced(direct.leaky_relu, **arguments),
    {"x": x()},
    *CONTAINER,
    EMPTY,
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(KEYS_STAY, lambda y: y.values.tolist() == [[[1, 0, 0], [0, 0, 0]]])),
    ("slope", "NaN", float("nan"), value_error("slope must be finite, got nan")),
    ("slope", "infinite", float("inf"), value_error("slope must be finite, got inf")),
    ("slope", "a string", "0.1", type_error("slope must be a number, known at trace time")),
    ("slope", "a bool", True, type_error("slope must be a number, known at trace time")),
    ("slope", "an array of two", f32(2), type_error("slope must be a number, known at trace time")),
    ("slope", "traced", _Tracer, type_error("slope must be a number, known at trace time")),
    ("slope", "negative, or above 1", -2, Defined("legal", lambda y: y.nnz.tolist() == [[3, 1]])),
)  # fmt: skip

KEY = Late(lambda: jax.random.key(0))
DROPOUT = section(
    "dropout",
    lambda **arguments: with_traced(direct.dropout, **arguments),
    {"x": x(), "rate": 0.5, "key": KEY},
    *CONTAINER,
    EMPTY,
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(KEYS_STAY, lambda y: not y.values[:, :, 1:].any())),
    ("rate", "negative", -0.1, value_error("rate must be finite and at least 0 and at most 1, got -0.1")),
    ("rate", "above 1", 1.5, value_error("rate must be finite and at least 0 and at most 1, got 1.5")),
    ("rate", "NaN", float("nan"), value_error("rate must be finite and at least 0 and at most 1, got nan")),
    ("rate", "a string", "half", type_error("rate must be a number, known at trace time")),
    ("rate", "traced", _Tracer, type_error("rate must be a number, known at trace time")),
    ("rate", "0", 0, Defined("x itself", lambda y: y.values.tolist() == [[[1, 2, 3], [4, 0, 0]]])),
    ("rate", "1", 1, Defined("every entry holds 0", lambda y: not y.values.any() and y.nnz.tolist() == [[3, 1]])),
    ("key", "an integer", 3, type_error("key must be a key of jax.random")),
    ("key", "None", None, type_error("key must be")),
    ("key", "several keys", Late(lambda: jax.random.split(jax.random.key(0))), value_error("key must be a single key")),
    ("key", "a key of the old kind (uint32)", Late(lambda: jax.random.PRNGKey(0)), Defined("the same as the new kind", lambda y: y.values.tolist() == direct.dropout(container(), 0.5, jax.random.key(0)).values.tolist())),
)  # fmt: skip

ADD = section(
    "add",
    direct.add,
    {"x": x(), "y": x()},
    *(row for row in CONTAINER if "spatial" not in row[1] and "volume" not in row[1] and "size" not in row[1]),
    ("x", "an empty batch, y too", {"x": EMPTY_BATCH, "y": EMPTY_BATCH}, Defined("an empty batch", lambda y: y.shape == (0, 4, 5, 2))),
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(SOUND_LISTS_END, lambda y: y.nnz.tolist() == [[3, 1]] and y.values[0, 0, 1] == 3)),
    *named("y"),
    ("y", "of another spatial shape", x(spatial_shape=(5, 4)), value_error("y must be of the shape of x, (1, 4, 5, 2), got (1, 5, 4, 2)")),
    ("y", "another batch size", EMPTY_BATCH, value_error("y must be of the shape of x")),
    ("y", "other channels", Late(lambda: direct.concat([container()] * 2)), value_error("y must be of the shape of x")),
    ("y", "another dtype than x", Late(lambda: container().replace(values=jnp.ones((1, 2, 3), jnp.float16))), type_error("y must be of the dtype of x, float32")),
    *CAPACITY,
    ("capacity", "left out", None, Defined("the sum of both", keeps(6))),
    roomy("the volume"),
)  # fmt: skip


def pair(**changes) -> Late:
    """A sound container and a changed one."""
    return Late(lambda: [container(), container(**changes)])


CONCAT = section(
    "concat",
    direct.concat,
    {"xs": pair()},
    ("xs", "a container", x(), type_error("xs must be a sequence of direct.SparseTensor")),
    ("xs", "nothing", (), value_error("xs must be at least one direct.SparseTensor")),
    ("xs", "an array among them", Late(lambda: [container(), f32(1, 4, 5, 2)]), type_error("xs[1] must be a direct.SparseTensor")),
    ("xs", "values of another shape than keys", pair(values=f32(1, 2, 4)), value_error("xs[1].values must be of shape (1, 2, 3)")),
    ("xs", "of several spatial shapes", pair(spatial_shape=(5, 4)), value_error("xs[1] must be of spatial shape (4, 5)")),
    ("xs", "of several batch sizes", Late(lambda: [container(), EMPTY_BATCH.make()]), value_error("xs[1] must be of batch size 1")),
    ("xs", "of several dtypes", pair(values=np.ones((1, 2, 3), np.float16)), type_error("xs[1] must be of the dtype of xs[0], float32")),
    ("xs", "of several capacities", Late(lambda: [container(), direct.add(container(), container())]), Defined("the largest", keeps(6))),
    ("xs", "one", Late(lambda: (container(),)), Defined("its lists", lambda y: y.values.tolist() == [[[1, 2, 3], [4, 0, 0]]])),
    ("xs", "empty batches", Late(lambda: [EMPTY_BATCH.make()] * 2), Defined("an empty batch", lambda y: y.shape == (0, 4, 5, 4))),
    ("xs", "keys that are unsorted, repeated or out of range", pair(keys=i32([[[7, 3, 11], [-1, 5, 99]]])), Defined("keys and counts stay as they are; other operations end the list there", lambda y: y.to_dense().sum() == 11)),
)  # fmt: skip

BATCH_NORM = section(
    "batch_norm",
    direct.batch_norm,
    {"x": x()},
    *CONTAINER,
    EMPTY,
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(KEYS_STAY, lambda y: not y.values.any())),
    *per_channel("scale"),
    *per_channel("bias"),
    ("mean", "given without var", f32(2), value_error("mean and var must be given together, got only mean")),
    ("mean", "of another length", {"mean": f32(3), "var": f32(2)}, value_error("mean must be of shape (2,)")),
    ("var", "given without mean", f32(2), value_error("mean and var must be given together, got only var")),
    ("var", "another dtype than x", {"mean": f32(2), "var": np.ones(2, np.float16)}, type_error("var must be of the dtype of x, float32")),
    ("epsilon", "negative", -1e-5, value_error("epsilon must be finite and at least 0, got -1e-05")),
    ("epsilon", "NaN", float("nan"), value_error("epsilon must be finite and at least 0, got nan")),
    ("epsilon", "a string", "small", type_error("epsilon must be a number, known at trace time")),
    ("epsilon", "0", 0, Defined("legal; a channel of one value becomes NaN", lambda y: np.isnan(y.values[0, 1, 0]) and not np.isnan(y.values[0, 0]).any())),
    ("axis_name", "given where mean and var are", {"mean": f32(2), "var": f32(2), "axis_name": "nowhere"}, Defined("has no effect", lambda y: y.nnz.tolist() == [[3, 1]])),
)  # fmt: skip


BATCH_STATISTICS = section(
    "batch_statistics",
    direct.batch_statistics,
    {"x": x()},
    *CONTAINER,
    ("x", "an empty batch", EMPTY_BATCH, Defined("zeros", lambda s: not any(v.any() for v in s))),
    ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(SOUND_LISTS_END, lambda s: s.entries.tolist() == [1, 0])),
    ("axis_name", "None", None, Defined("the statistics of what is here", lambda s: s.mean.tolist() == [2, 4])),
    ("axis_index_groups", "given without axis_name", [[0]], value_error("axis_index_groups must be None without axis_name")),
)  # fmt: skip

KIT = [
    *AVG_POOL, *GLOBAL, *UNPOOL, *LEAKY_RELU, *DROPOUT, *ADD, *CONCAT, *BATCH_NORM, *BATCH_STATISTICS,
]  # fmt: skip
