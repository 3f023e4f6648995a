"""Rows of the table of arguments: the bird's-eye maps of `jaxsparse.data`."""

import numpy as np

from jaxsparse import data
from tests.argument_rows import Defined, Row, section, type_error, value_error

NAN = float("nan")
GRID = data.BirdsEyeGrid((0.0, 4.0), (-2.0, 2.0), (-2.0, 1.0), cell=0.5, height=0.5)
SWEEP = np.array([[0.1, 0.1, -1.7, 0.3], [3.0, -1.0, 0.5, 0.1]])
BOXES = np.array([[2.0, 0.0, -1.0, 1.0, 0.6, 1.5, 0.2]])

POINTS = (
    ("points", "of two columns", SWEEP[:, :2], value_error("points must be [N, 3] or more columns, got shape (2, 2)")),
    ("points", "NaN or inf", SWEEP * NAN, value_error("points must be finite, got [nan, nan, nan] in row 0")),
    ("points", "strings", [["a", "b", "c"]], type_error("points must be an array of real numbers")),
    ("points", "none", np.zeros((0, 4)), Defined("nothing is set", lambda m: not m.any())),
    ("grid", "None", None, Defined("that of SBNet's detector", lambda m: m.shape[:2] == (800, 1400))),
)  # fmt: skip


def at_least_0(name: str) -> tuple:
    return (
        (name, "negative", -0.1, value_error(f"{name} must be finite and at least 0, got -0.1")),
        (name, "NaN", NAN, value_error(f"{name} must be finite and at least 0")),
        (name, "a string", "1", type_error(f"{name} must be a number")),
    )


def ends(name: str) -> tuple:
    return (
        (name, "an empty range", (1.0, 1.0), value_error(f"{name} must be (low, high) in metres")),
        (name, "infinite", (0.0, float("inf")), value_error(f"{name} must be (low, high) in metres")),
        (name, "no whole number of cells", (0.0, 1.013), value_error(f"{name} must be a whole number of cells")),
    )  # fmt: skip


def size(name: str) -> tuple:
    return ((name, "0", 0, value_error(f"{name} must be above 0, got 0")), *at_least_0(name))


BIRDS_EYE: list[Row] = [
    *section(
        "data.BirdsEyeGrid", data.BirdsEyeGrid, {},
        *ends("x_range"), *ends("y_range"), *ends("z_range"), *size("cell"), *size("height"),
    ),
    *section("data.birds_eye_map", data.birds_eye_map, {"points": SWEEP, "grid": GRID}, *POINTS),
    *section(
        "data.occupied_mask", data.occupied_mask, {"points": SWEEP, "grid": GRID},
        *POINTS, *at_least_0("dilation"),
    ),
    *section(
        "data.box_mask", data.box_mask, {"boxes": BOXES, "grid": GRID},
        ("boxes", "of six columns", BOXES[:, :6], value_error("boxes must be shape [N, 7], got (1, 6)")),
        ("boxes", "NaN or inf", BOXES * NAN, value_error("boxes must be finite numbers")),
        ("boxes", "of negative size", -BOXES, value_error("boxes must be sizes of 0 or more")),
        ("boxes", "none", np.zeros((0, 7)), Defined("nothing is set", lambda m: not m.any())),
        ("grid", "None", None, Defined("that of SBNet's detector", lambda m: m.shape == (800, 1400))),
        *at_least_0("dilation"),
    ),
    *section(
        "data.ground_mask", data.ground_mask, {"points": SWEEP, "grid": GRID, "patch": 0.5},
        *POINTS,
        ("patch", "less than a cell", 0.2, value_error("patch must be a cell of 0.5 m or more, got 0.2")),
        *at_least_0("patch"), *at_least_0("roughness"), *at_least_0("step"), *at_least_0("slope"),
        *at_least_0("ring_spacing"),
        ("gap", "negative", (-1.0, 2.0), value_error("gap must be a pair (least, most) of metres")),
        ("gap", "falling", (3.0, 2.0), value_error("gap must be a pair (least, most) of metres")),
        ("gap", "a number", 1.0, value_error("gap must be a pair (least, most) of metres")),
        ("sensor_height", "0", 0, value_error("sensor_height must be finite and at least 0.01, got 0")),
    ),
]  # fmt: skip
