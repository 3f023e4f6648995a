"""Rows of the table of arguments: `jaxsparse.data`."""

import numpy as np

from jaxsparse import data
from tests.argument_birds_eye import BIRDS_EYE
from tests.argument_rows import Defined, Late, Refused, Row, f32, section, type_error, value_error

NAN = float("nan")
CLOUD = np.array([[0.0, 0.1, 0.2], [0.9, 1.0, 0.5]])
RNG = Late(lambda: np.random.default_rng(0))
TRIANGLE = data.Mesh(np.eye(3), np.array([[0, 1, 2]]))

CLOUDS = (
    ("points", "NaN or inf", CLOUD * NAN, value_error("points must be finite, got [nan, nan, nan] in row 0")),
    ("points", "of rank 1", f32(3), value_error("points must be [N, d] with d")),
    ("points", "strings", [["a", "b", "c"]], type_error("points must be an array of real numbers, got dtype")),
    ("points", "complex", np.ones((2, 3), complex), type_error("points must be an array of real numbers, got dtype complex128")),
)  # fmt: skip
SMALL = (("points", "of 4 dimensions", f32(2, 4), value_error("points must be [N, d] with d from 1 to 3, got shape (2, 4)")),)  # fmt: skip
INTEGERS = ("points", "integers", np.array([[0, 1, 1], [1, 0, 0]]), Defined("float64 of the same numbers", lambda p: p.dtype == np.float64))  # fmt: skip
NO_POINTS = ("points", "none", np.zeros((0, 3)), Defined("no points", lambda p: p.shape == (0, 3)))  # fmt: skip
GENERATOR = (
    ("rng", "a seed", 0, type_error("rng must be a numpy.random.Generator, got 0 (int)")),
    ("rng", "None", None, type_error("rng must be a numpy.random.Generator")),
)  # fmt: skip


def at_least_0(name: str) -> tuple:
    return (
        (name, "negative", -0.1, value_error(f"{name} must be finite and at least 0, got -0.1")),
        (name, "NaN", NAN, value_error(f"{name} must be finite and at least 0")),
        (name, "a string", "1", type_error(f"{name} must be a number")),
    )


GRID = (
    ("resolution", "0", 0, value_error("resolution must be at least 1, got 0")),
    ("resolution", "a float", 8.0, type_error("resolution must be an integer or 3 of them")),
    ("resolution", "of another length", (8, 8), value_error("resolution must be an integer or 3 of them")),
    ("padding", "negative", -1, value_error("padding must be at least 0, got -1")),
    ("padding", "half of the resolution", 4, value_error("padding must be less than half of the resolution 8, got 4")),
    ("bounds", "one number", 1.0, value_error("bounds must be a pair (lower, upper)")),
    ("bounds", "an empty box", (1, 1), value_error("bounds must be a pair (lower, upper)")),
    ("bounds", "NaN", (0, NAN), value_error("bounds must be a pair (lower, upper)")),
    ("fit", "an unknown word", "box", value_error("fit must be one of ['cube', 'sphere'], got 'box'")),
    ("fit", "beside bounds", {"fit": "cube", "bounds": (0, 1)}, value_error("fit must be left out where bounds are given")),
)  # fmt: skip

VOXELIZE_POINTS = section(
    "data.voxelize_points",
    data.voxelize_points,
    {"points": CLOUD, "resolution": 8},
    *CLOUDS,
    *SMALL,
    NO_POINTS,
    ("points", "all at one place", np.ones((5, 3)), Defined("one voxel in the middle", lambda v: v.tolist() == [[4, 4, 4]])),
    *GRID,
    ("resolution", "more than 2^31 - 1 voxels in all", 1291, value_error("resolution must be at most 2147483647 voxels in all")),
    ("bounds", "that hold no point", (5, 6), Defined("no voxels: points outside are left out", lambda v: v.shape == (0, 3))),
)  # fmt: skip

VOXELIZE_MESH = section(
    "data.voxelize_mesh",
    data.voxelize_mesh,
    {"mesh": TRIANGLE, "resolution": 8},
    ("mesh", "a number", 3, type_error("mesh must be a Mesh, a pair (vertices, faces) or a path, got int")),
    ("mesh", "vertices that are not finite", data.Mesh(np.eye(3) * NAN, TRIANGLE.faces), value_error("vertices must be finite")),
    ("mesh", "vertices of 2 dimensions", data.Mesh(np.eye(3)[:, :2], TRIANGLE.faces), value_error("vertices must be [N, d] with d = 3")),
    ("mesh", "faces of 4 corners", data.Mesh(np.eye(3), np.zeros((1, 4), int)), value_error("faces must be [F, 3], got shape (1, 4)")),
    ("mesh", "faces of floats", data.Mesh(np.eye(3), f32(1, 3)), type_error("faces must be integers, got dtype float32")),
    ("mesh", "a face that names no vertex", data.Mesh(np.eye(3), np.array([[0, 1, 3]])), value_error("faces must be numbers of the 3 vertices, got 0 to 3")),
    ("mesh", "no triangles", data.Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)), Defined("no voxels", lambda v: v.shape == (0, 3))),
    ("mesh", "triangles without area", data.Mesh(np.ones((1, 3)), np.zeros((1, 3), int)), Defined("segments and points touch voxels, too: here the eight around the middle", lambda v: len(v) == 8)),
    ("fill", "an unknown word", "full", value_error("fill must be one of ['surface', 'solid'], got 'full'")),
    *GRID,
    ("resolution", "above 512", 513, value_error("resolution must be at most 512, got 513")),
)  # fmt: skip

LOAD_MESH = section(
    "data.load_mesh",
    data.load_mesh,
    {},
    ("path", "no file", "absent.off", Refused(FileNotFoundError, "path must be the path of a file, got absent.off")),
)  # fmt: skip

BATCH_COORDS = section(
    "data.batch_coords",
    data.batch_coords,
    {},
    ("coords", "no arrays", [], value_error("coords must be at least one array, got none")),
    ("coords", "an array of rank 1", [np.zeros(3, int)], value_error("coords[0] must be [N, d], got shape (3,)")),
    ("coords", "arrays of other dimensions", [np.zeros((1, 3), int), np.zeros((1, 2), int)], value_error("coords[1] must be [N, 3], got shape (1, 2)")),
    ("coords", "floats", [f32(1, 3)], type_error("coords[0] must be integers, got dtype float32")),
    ("coords", "an array without rows", [np.zeros((0, 3), int)], Defined("no rows of it", lambda c: c.shape == (0, 4))),
)  # fmt: skip

NORMALIZE = section(
    "data.normalize_points",
    data.normalize_points,
    {"points": CLOUD},
    *CLOUDS,
    *SMALL,
    INTEGERS,
    NO_POINTS,
    ("points", "all at one place", np.ones((5, 3)), Defined("all at the origin", lambda p: not p.any())),
    ("to", "an unknown word", "box", value_error("to must be one of ['sphere', 'cube'], got 'box'")),
)  # fmt: skip

AXES = (
    ("axis", "3", 3, value_error("axis must be 0, 1, 2 or a finite vector [3] other than 0, got 3")),
    ("axis", "the vector 0", (0, 0, 0), value_error("axis must be 0, 1, 2 or a finite vector [3] other than 0")),
    ("axis", "a vector with NaN", (0, NAN, 1), value_error("axis must be 0, 1, 2 or a finite vector [3] other than 0")),
    ("axis", "a string", "up", type_error("axis must be 0, 1, 2 or a finite vector [3] other than 0, got 'up' (str)")),
)  # fmt: skip

RANDOM_ROTATION = section(
    "data.random_rotation", data.random_rotation, {"rng": RNG}, *GENERATOR, *AXES
)
ROTATE = section(
    "data.rotate_points",
    data.rotate_points,
    {"points": CLOUD, "rng": RNG},
    *CLOUDS,
    ("points", "of 2 dimensions", f32(2, 2), value_error("points must be [N, d] with d = 3, got shape (2, 2)")),
    INTEGERS,
    NO_POINTS,
    *GENERATOR,
    *AXES,
)  # fmt: skip
COMMON = (*CLOUDS, *SMALL, INTEGERS, NO_POINTS, *GENERATOR)
JITTER = section(
    "data.jitter_points",
    data.jitter_points,
    {"points": CLOUD, "rng": RNG},
    *COMMON,
    *at_least_0("sigma"),
    *at_least_0("clip"),
    ("clip", "None", None, Defined("no limit", lambda p: p.shape == (2, 3))),
)  # fmt: skip
TRANSLATE = section(
    "data.translate_points",
    data.translate_points,
    {"points": CLOUD, "rng": RNG, "distance": 0.1},
    *COMMON,
    *at_least_0("distance"),
)
SCALE = section(
    "data.scale_points",
    data.scale_points,
    {"points": CLOUD, "rng": RNG, "low": 0.8, "high": 1.25},
    *COMMON,
    *at_least_0("low"),
    *at_least_0("high"),
    ("low", "0", 0, value_error("low must be above 0 and at most high = 1.25, got 0")),
    ("low", "more than high", 2, value_error("low must be above 0 and at most high = 1.25, got 2")),
)  # fmt: skip
AFFINE = section(
    "data.affine_points",
    data.affine_points,
    {"points": CLOUD, "rng": RNG, "sigma": 0.1},
    *COMMON,
    *at_least_0("sigma"),
)

DATA: list[Row] = [
    *VOXELIZE_POINTS, *VOXELIZE_MESH, *LOAD_MESH, *BATCH_COORDS, *NORMALIZE, *RANDOM_ROTATION, *ROTATE, *JITTER, *TRANSLATE,
    *SCALE, *AFFINE, *BIRDS_EYE,
]  # fmt: skip
