"""The grid of convolutions that tests walk: every two properties meet in some case."""

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests import oracle
from tests.direct.common import DTYPES
from tests.oracle import Sparse
from tests.pairwise import pairwise

SPATIAL = {1: (13,), 2: (6, 7), 3: (4, 5, 3), 4: (3, 4, 2, 3)}
MIXED_KERNEL = {1: (4,), 2: (1, 3), 3: (3, 1, 2), 4: (1, 3, 2, 5)}
FIVE = {1: (5,), 2: (5, 5), 3: (5, 5, 5), 4: (5, 5, 1, 1)}  # 5^4 taps say no more, and take long
EXPLICIT = {
    "asymmetric": ((2, 0), (0, 3), (1, 2), (0, 1)),
    "negative": ((-1, 2), (1, -1), (2, -1), (1, 1)),
    "cropped": ((1, -2), (0, -1), (2, -1), (0, -1)),
}

FACTORS = {
    "dims": (1, 2, 3, 4),
    "kernel": (1, 2, 3, 5, "mixed"),
    "strides": (1, 2, (2, 1, 3, 2)),
    "padding": ("SAME", "VALID", "asymmetric", "negative", "cropped"),
    "dilation": (1, 2, (1, 3, 2, 1)),
    "in_channels": (1, 3, 17),
    "out_channels": (1, 3, 17),
    "batch": (1, 5),
    "input": ("empty", "one", "sparse", "full"),
    "values": ("integers", "negative", "non-finite", "subnormal"),
    "dtype": DTYPES,
    "mask": ("none", "half", "all"),
    "bias": (False, True),
    "select": ("value", "magnitude", "relu"),
    "capacity": (1, "cut", "volume", "above", "default"),
}


# Of what concerns a single tensor, and what the rest is then; a test adds the factors of its operation.
TENSORS = {
    name: FACTORS[name] for name in ("dims", "in_channels", "batch", "input", "values", "dtype")
}
REST = {"kernel": 1, "out_channels": 1, "strides": 1, "padding": "SAME", "dilation": 1}
REST |= {"mask": "none", "bias": False, "select": "value", "capacity": 1}


class Case(NamedTuple):
    """Operands and static arguments of one convolution.  Its numbers are small integers times a power of two (or not
    finite): every sum is exact in the accumulator, whatever its order, and ties abound."""

    x: Sparse
    kernel: np.ndarray
    bias: np.ndarray | None
    mask: np.ndarray | None
    window: dict[str, Any]  # strides, padding, kernel_dilation
    selection: dict[str, Any]  # select, capacity

    @property
    def dtype(self):
        return self.kernel.dtype


def label(case) -> str:
    return "-".join(str(v) for v in case.values()).replace(" ", "")


def parameters(cases, core_every: int = 6) -> list:
    """For `pytest.mark.parametrize`; one case in `core_every` runs on every stack and under the sanitizers."""
    core = [pytest.mark.core, pytest.mark.asan]
    return [
        pytest.param(f, id=label(f), marks=core if i % core_every == 0 else [])
        for i, f in enumerate(cases)
    ]


def tensor_of(f: dict[str, Any], rng) -> Sparse:
    """The input of a case of `TENSORS`."""
    return case_of(f | REST, rng).x


def sizes_of(value, dims):
    """A number for all dimensions or the first `dims` of several; None is None."""
    return value if np.ndim(value) == 0 else value[:dims]


def capacity_of(kind, volume):
    """A named capacity of an output of so many voxels; numbers are meant as they are."""
    named = {"cut": max(1, volume // 3), "volume": volume, "above": volume + 3, "default": None}
    return named.get(kind, kind)


def case_of(f: dict[str, Any], rng) -> Case:
    dims, dtype = f["dims"], f["dtype"]
    kernel_shape = {"mixed": MIXED_KERNEL, 5: FIVE}.get(f["kernel"], {dims: (f["kernel"],) * dims})
    strides, dilation = sizes_of(f["strides"], dims), sizes_of(f["dilation"], dims)
    padding = EXPLICIT[f["padding"]][:dims] if f["padding"] in EXPLICIT else f["padding"]
    window = {"strides": strides, "padding": padding, "kernel_dilation": dilation}
    spatial = np.array(SPATIAL[dims])
    while min(oracle.geometry(spatial, kernel_shape[dims], *window.values()).out) < 1:
        spatial += 1
    volume = int(np.prod(spatial))
    out_volume = int(np.prod(oracle.geometry(spatial, kernel_shape[dims], *window.values()).out))

    shape = (f["batch"], f["in_channels"], volume)
    fill = {"empty": 0.0, "one": 0.0, "sparse": 0.2, "full": 1.0}[f["input"]]
    there = rng.random(shape) < fill
    if f["input"] == "one":
        there[..., rng.integers(volume)] = True
    values = number(rng, shape, f["values"], dtype)
    slots = max(1, there.sum(-1).max() + (2 if f["input"] == "empty" else 0))
    x = Sparse(
        np.full((*shape[:2], slots), volume, np.int32),
        np.zeros((*shape[:2], slots), dtype),
        there.sum(-1, dtype=np.int32),
        tuple(int(n) for n in spatial),
    )
    for b, c in np.ndindex(*shape[:2]):
        keys = np.flatnonzero(there[b, c])
        x.keys[b, c, : len(keys)], x.values[b, c, : len(keys)] = keys, values[b, c, keys]

    weights = (*kernel_shape[dims], f["in_channels"], f["out_channels"])
    kernel = rng.integers(-3, 4, weights).astype(dtype)
    if f["values"] == "non-finite":
        kernel[rng.random(weights) < 0.02] = np.inf
    unit = number(
        rng, (f["out_channels"],), "subnormal" if f["values"] == "subnormal" else "integers", dtype
    )
    mask = {"none": None, "half": rng.random(weights) < 0.5, "all": np.zeros(weights, bool)}
    selection = {"select": f["select"], "capacity": capacity_of(f["capacity"], out_volume)}
    return Case(x, kernel, unit if f["bias"] else None, mask[f["mask"]], window, selection)


def number(rng, shape, kind, dtype):
    """Small integers of one kind; 0 is among them: a stored entry may hold it."""
    values = rng.integers(-4, 5, shape).astype(np.float64)
    if kind == "negative":
        values = -np.abs(values)
    if kind == "subnormal":
        values *= float(np.ldexp(1.0, SMALLEST[np.dtype(dtype).name]))
    if kind == "non-finite":
        special = rng.choice([np.nan, np.inf, -np.inf, 0.0], shape)
        values = np.where(rng.random(shape) < 0.1, special, values)
    return values.astype(dtype)


SMALLEST = {"float32": -149, "float64": -1074, "bfloat16": -133, "float16": -24}

# Once with the special cases, once more where there is much to add up.
GRID = pairwise(FACTORS) + pairwise(
    FACTORS | {"input": ("sparse", "full"), "mask": ("none", "half")}, seed=1
)
