"""What a row of the table of arguments is, and the arguments that rows start from."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jaxsparse.direct import SparseTensor


@dataclasses.dataclass(frozen=True)
class Refused:
    """An exception whose message holds `says`."""

    error: type[Exception]
    says: str

    def __str__(self) -> str:
        return f"`{self.error.__name__}`: … {self.says} …"


@dataclasses.dataclass(frozen=True)
class Defined:
    """A result, in words and as a check."""

    says: str
    holds: Callable[[Any], bool]

    def __str__(self) -> str:
        return self.says


@dataclasses.dataclass(frozen=True)
class Row:
    """What happens if `argument` of `function` is `given`."""

    function: str
    argument: str
    given: str
    call: Callable[[], Any]
    outcome: Refused | Defined


def value_error(says: str) -> Refused:
    return Refused(ValueError, says)


def type_error(says: str) -> Refused:
    return Refused(TypeError, says)


class Late:
    """A value that is made when the row runs: importing the table runs nothing."""

    def __init__(self, make: Callable[[], Any]):
        self.make = make


class Traced(dict):
    """Arguments of a row that runs inside `jit`: its NumPy arrays are traced, their contents unknown."""


def section(function: str, run: Callable, good: dict[str, Any], *cases: tuple) -> Iterator[Row]:
    """Rows of one function: a call with good arguments, one of them (or several, in a dict) exchanged."""
    for argument, given, value, outcome in cases:
        changes = value if isinstance(value, dict) else {argument: value}

        def call(changes=changes):
            made = {
                name: value.make() if isinstance(value, Late) else value
                for name, value in (good | changes).items()
            }
            if not isinstance(changes, Traced):
                return run(**made)
            arrays = {name: v for name, v in made.items() if isinstance(v, np.ndarray)}
            return jax.jit(lambda arrays: run(**(made | arrays)))(arrays)

        yield Row(function, argument, given, call, outcome)


# --- good arguments, from which each row departs -----------------------------------------------------------------


def container(**changes) -> SparseTensor:
    """Unchecked: batch 1, 4 x 5 voxels, 2 channels, capacity 3; three entries and one."""
    fields = {
        "keys": np.array([[[3, 7, 11], [0, 20, 20]]], np.int32),
        "values": np.array([[[1, 2, 3], [4, 0, 0]]], np.float32),
        "nnz": np.array([[3, 1]], np.int32),
        "spatial_shape": (4, 5),
    }
    fields |= changes
    return SparseTensor(
        **{k: jax.device_put(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()}
    )


def x(**changes) -> Late:
    return Late(lambda: container(**changes))


def f32(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def i32(values) -> np.ndarray:
    return np.array(values, np.int32)


KERNEL = f32(3, 3, 2, 4)

# What every function that takes a container says of a bad one.
CONTAINER = (
    ("x", "an array", f32(1, 4, 5, 2), type_error("x must be a direct.SparseTensor")),
    ("x", "keys of rank 2", x(keys=i32([[3, 7]])), value_error("x.keys must be of rank 3")),
    ("x", "values of rank 2", x(values=f32(1, 2)), value_error("x.values must be of rank 3")),
    ("x", "nnz of rank 1", x(nnz=i32([1])), value_error("x.nnz must be of rank 2")),
    ("x", "values of another shape than keys", x(values=f32(1, 2, 4)), value_error("x.values must be of shape (1, 2, 3)")),
    ("x", "nnz of another shape", x(nnz=i32([[1, 2, 3]])), value_error("x.nnz must be of shape (1, 2)")),
    ("x", "keys of dtype uint32", x(keys=np.zeros((1, 2, 3), np.uint32)), type_error("x.keys must be of dtype int32")),
    ("x", "values of dtype int32", x(values=i32([[[1] * 3] * 2])), type_error("x.values must be of dtype float16")),
    ("x", "values of NumPy's float64, `jax_enable_x64` off", Late(lambda: dataclasses.replace(container(), values=np.ones((1, 2, 3)))), type_error("x.values must be of at most float32 unless jax_enable_x64 is set")),
    ("x", "nnz of dtype float32", x(nnz=f32(1, 2)), type_error("x.nnz must be of dtype int32")),
    ("x", "capacity 0", x(keys=np.zeros((1, 2, 0), np.int32), values=f32(1, 2, 0)), value_error("at least one channel and one slot")),
    ("x", "no channels", x(keys=np.zeros((1, 0, 3), np.int32), values=f32(1, 0, 3), nnz=np.zeros((1, 0), np.int32)), value_error("at least one channel and one slot")),
    ("x", "5 spatial dimensions", x(spatial_shape=(2,) * 5), value_error("spatial_shape must be 1 to 4 integers")),
    ("x", "a volume of 2^31 voxels", x(spatial_shape=(2**16, 2**15)), value_error("spatial_shape must be of at most 2147483647 voxels")),
    ("x", "a size of 0", x(spatial_shape=(4, 0)), value_error("spatial_shape[1] must be at least 1")),
    ("x", "a field that is no array", x(values=None), type_error("x.values must be an array")),
)  # fmt: skip
EMPTY_BATCH = x(keys=np.zeros((0, 2, 3), np.int32), values=f32(0, 2, 3), nnz=np.zeros((0, 2), np.int32))  # fmt: skip

UNSORTED = x(keys=i32([[[7, 3, 11], [-1, 5, 99]]]))
SOUND_LISTS_END = "a list ends at the first such key"
EMPTY = ("x", "an empty batch", EMPTY_BATCH, Defined("an empty batch", lambda y: y.shape == (0, 4, 5, 2)))  # fmt: skip
ENDS_EARLY = ("x", "keys that are unsorted, repeated or out of range", UNSORTED, Defined(SOUND_LISTS_END, lambda y: y.nnz.tolist() == [[1, 0]]))  # fmt: skip

CAPACITY = (
    ("capacity", "0", 0, value_error("capacity must be at least 1, got 0")),
    ("capacity", "negative", -3, value_error("capacity must be at least 1, got -3")),
    ("capacity", "2^31", 2**31, value_error("capacity must be at most 2147483647")),
    ("capacity", "a float", 2.0, type_error("capacity must be an integer, got 2.0")),
    ("capacity", "a bool", True, type_error("capacity must be an integer, got True")),
)
DENSITY = (
    ("density", "0", 0.0, value_error("density must be a positive, finite number")),
    ("density", "negative", -0.1, value_error("density must be a positive, finite number")),
    ("density", "NaN", float("nan"), value_error("density must be a positive, finite number")),
    ("density", "so small that no entry fits", 1e-9, value_error("density must be such that 1 to")),
    ("density", "a string", "half", type_error("density must be a number")),
    ("density", "given together with capacity", {"capacity": 3, "density": 0.5}, value_error("capacity or density must be given, not both")),
)  # fmt: skip
WINDOWS = (
    ("strides", "0", 0, value_error("strides must be at least 1, got 0")),
    ("strides", "negative", (1, -2), value_error("strides[1] must be at least 1, got -2")),
    ("strides", "of another length", (1, 1, 1), value_error("strides must be an integer or 2 of them")),
    ("strides", "a float", 1.5, type_error("strides must be an integer")),
    ("strides", "a string", "2", type_error("strides must be an integer or 2 of them")),
)  # fmt: skip

# What both poolings of windows say of an input or a window.
POOLED = (
    ("x", "an empty batch", EMPTY_BATCH, Defined("an empty batch", lambda y: y.shape == (0, 2, 3, 2))),
    ENDS_EARLY,
    ("window", "0", 0, value_error("window must be at least 1, got 0")),
    ("window", "negative", (2, -1), value_error("window[1] must be at least 1, got -1")),
    ("window", "of another length", (2,), value_error("window must be an integer or 2 of them")),
    ("window", "a float", 2.0, type_error("window must be an integer")),
)  # fmt: skip
HOLES = ("strides", "larger than the window", 3, Defined("voxels between the windows take no part", lambda y: y.shape == (1, 2, 2, 2)))  # fmt: skip


def keeps(capacity: int) -> Callable[[SparseTensor], bool]:
    return lambda y: y.keys.shape[-1] == capacity


def roomy(of: str) -> tuple:
    return ("capacity", f"more than {of}", 50, Defined("legal; slots that cannot be used stay empty", keeps(50)))  # fmt: skip
