"""Rows of the table of arguments: poolings, activations, merging and normalisation of `jaxsparse.voxel`."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse import voxel
from tests.argument_rows import (
    CAPACITY,
    WINDOWS,
    Defined,
    Late,
    f32,
    section,
    type_error,
    value_error,
)
from tests.argument_voxel_rows import NO_GROUND, PLANS, container, v, voxels

WINDOW = (
    ("window", "0", 0, value_error("window must be at least 1, got 0")),
    ("window", "negative", (2, -1), value_error("window[1] must be at least 1, got -1")),
    ("window", "of another length", (2,), value_error("window must be an integer or 2 of them")),
    ("window", "a float", 2.0, type_error("window must be an integer")),
    ("window", "larger than the padded input", 6, value_error("window must be at most as large as the padded input")),
)  # fmt: skip
PADDING = (
    ("padding", "an unknown word", "FULL", value_error('padding must be "SAME", "VALID"')),
    ("padding", "None", None, type_error('padding must be "SAME", "VALID"')),
    ("padding", "pairs for another number of dimensions", ((1, 1),), value_error('padding must be "SAME", "VALID"')),
)  # fmt: skip

POOLS = tuple(
    row
    for name in ("max_pool", "avg_pool", "sum_pool")
    for row in section(
        f"voxel.{name}",
        getattr(voxel, name),
        {"x": v(), "window": 2},
        *voxels(),
        *WINDOW,
        *WINDOWS,
        ("strides", "larger than the window", 3, Defined("voxels between the windows take no part", lambda y: y.spatial_shape == (1, 2))),
        *PADDING,
        *CAPACITY,
        ("capacity", "fewer than the sites", {"window": 1, "capacity": 1}, Defined("the first in canonical order stay", lambda y: int(y.count) == 2 and y.capacity == 1)),
        *PLANS,
    )
)  # fmt: skip

GLOBAL = tuple(
    row
    for name in ("global_max_pool", "global_avg_pool")
    for row in section(f"voxel.{name}", getattr(voxel, name), {"x": v()}, *voxels())
)

COARSE = v(spatial_shape=(2, 2), coords=np.array([[0, 0, 0], [0, 1, 1], [1, 0, 0]], np.int32))
UNPOOL = section(
    "voxel.unpool",
    voxel.unpool,
    {"x": COARSE, "onto": v(), "strides": 2},
    *voxels(),
    NO_GROUND,
    *voxels("onto"),
    ("onto", "of another number of spatial dimensions", v(spatial_shape=(4,), coords=np.zeros((3, 2), np.int32)), value_error("onto must be of 2 spatial dimensions, as x")),
    ("onto", "of another batch size", v(batch_size=2), value_error("onto must be of batch_size 1, as x")),
    ("strides", "0", 0, value_error("strides must be at least 1, got 0")),
    ("strides", "that do not lead from onto to x", 3, value_error("x must be of the spatial shape that onto")),
    ("strides", "None", None, Defined("the smallest that lead from onto to x", lambda y: y.features.shape == (3, 2))),
    *PADDING,
    *PLANS,
)  # fmt: skip

ACTIVATIONS = (
    *section("voxel.relu", voxel.relu, {"x": v()}, *voxels()),
    *section(
        "voxel.leaky_relu",
        voxel.leaky_relu,
        {"x": v()},
        *voxels(),
        ("slope", "NaN", float("nan"), value_error("slope must be finite, got nan")),
        ("slope", "a string", "0.1", type_error("slope must be a number, known at trace time")),
    ),
    *section(
        "voxel.apply",
        voxel.apply,
        {"x": v(), "function": jnp.exp},
        *voxels(),
        ("function", "a number", 3, type_error("function must be a function (array) -> array")),
        ("function", "to integers", lambda x: x.astype(jnp.int32), type_error("function must be a function that returns floating point arrays")),
        ("function", "that changes the shape", lambda x: x[:1], value_error("function must be a function that keeps shapes")),
    ),
    *section(
        "voxel.dropout",
        voxel.dropout,
        {"x": v(), "rate": 0.5, "key": Late(lambda: jax.random.key(0))},
        *voxels(),
        ("rate", "above 1", 1.5, value_error("rate must be finite and at least 0 and at most 1, got 1.5")),
        ("rate", "a string", "0.5", type_error("rate must be a number, known at trace time")),
        ("key", "an integer", 3, type_error("key must be a key of jax.random")),
        ("by_channel", "1", 1, type_error("by_channel must be True or False, got 1 (int)")),
    ),
)  # fmt: skip


def alike(name: str, given, build) -> tuple:
    """Tensors that do not fit the first one."""
    bad = (
        ("another batch size", {"batch_size": 2}, value_error(f"{name} must be of batch size 1")),
        ("another spatial shape", {"spatial_shape": (5, 5)}, value_error(f"{name} must be of spatial shape (4, 5)")),
        ("another dtype", {"features": np.ones((3, 2), np.float16)}, type_error(f"{name} must be of the dtype of")),
        ("a background, the first without", {"background": f32(2)}, value_error(f"{name} must be without background")),
    )  # fmt: skip
    return tuple((given, what, build(v(**changes)), says) for what, changes, says in bad)


SAME_CAPACITY = ("capacity", "more than there are sites", 50, Defined("legal; rows that cannot be used stay empty", lambda y: y.capacity == 50))  # fmt: skip
MERGING = (
    *section(
        "voxel.add",
        voxel.add,
        {"x": v(), "y": v()},
        *voxels(),
        *voxels("y"),
        *alike("y", "y", lambda one: one),
        ("y", "of other channels", v(features=f32(3, 5)), value_error("y must be of 2 channels, as x, got 5")),
        *CAPACITY,
        SAME_CAPACITY,
    ),
    *section(
        "voxel.concat",
        voxel.concat,
        {"xs": Late(lambda: [container(), container()])},
        ("xs", "a container", v(), type_error("xs must be a sequence of voxel.VoxelTensor")),
        ("xs", "nothing", (), value_error("xs must be at least one voxel.VoxelTensor")),
        ("xs", "an array among containers", Late(lambda: [container(), COARSE]), type_error("xs[1] must be a voxel.VoxelTensor")),
        *alike("xs[1]", "xs", lambda one: Late(lambda: [container(), one.make()])),
        *CAPACITY,
        SAME_CAPACITY,
    ),
)  # fmt: skip


def numbers(*names: str) -> tuple:
    return tuple(
        row
        for name in names
        for row in (
            (name, "of another shape", {name: f32(3)}, value_error(f"{name} must be of shape (2,) (one a channel)")),
            (name, "integers", {name: np.ones(2, np.int32)}, type_error(f"{name} must be of the dtype of x")),
        )
    )  # fmt: skip


EPSILON = (
    ("epsilon", "negative", -1e-5, value_error("epsilon must be finite and at least 0")),
    ("epsilon", "a string", "small", type_error("epsilon must be a number, known at trace time")),
)
NORMS = (
    *section(
        "voxel.batch_statistics",
        voxel.batch_statistics,
        {"x": v()},
        *voxels(),
        ("axis_name", "None", None, Defined("the statistics of what is here", lambda s: float(s.sites) == 2)),
        ("axis_index_groups", "given without axis_name", [[0]], value_error("axis_index_groups must be None without axis_name")),
    ),
    *section(
        "voxel.batch_norm",
        voxel.batch_norm,
        {"x": v()},
        *voxels(),
        *numbers("scale", "bias"),
        *((row[0], row[1], {"mean": f32(2), "var": f32(2)} | row[2], row[3]) for row in numbers("mean", "var")),
        ("mean", "given without var", f32(2), value_error("mean and var must be given together, got only mean")),
        *EPSILON,
        ("axis_name", "None", None, Defined("the statistics of what is here", lambda y: y.capacity == 3)),
    ),
    *section("voxel.layer_norm", voxel.layer_norm, {"x": v()}, *voxels(), *numbers("scale", "bias"), *EPSILON),
    *section(
        "voxel.instance_norm", voxel.instance_norm, {"x": v()}, *voxels(), NO_GROUND, *numbers("scale", "bias"), *EPSILON
    ),
)  # fmt: skip

VOXEL_KIT = [*POOLS, *GLOBAL, *UNPOOL, *ACTIVATIONS, *MERGING, *NORMS]
