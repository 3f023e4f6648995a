"""Arguments that several layers share."""

from typing import Any, TypeVar

import jax
import numpy as np

from jaxsparse import direct, voxel
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected, kind

Activation = TypeVar("Activation", direct.SparseTensor, voxel.VoxelTensor, jax.Array)

CONTAINERS = {direct.SparseTensor: "direct.SparseTensor", voxel.VoxelTensor: "voxel.VoxelTensor"}


def same_kind(function: str, name: str, x: Any, other_name: str, other: Any) -> None:
    """Raises a ``TypeError`` where one is a container and the other is none, or another one."""
    for container, called in CONTAINERS.items():
        sparse = isinstance(x, container)
        if sparse != isinstance(other, container):
            wording = f"{'a' if sparse else 'no'} {called}, as {name}"
            raise TypeError(expected(function, other_name, wording, kind(other)))


def no_capacity(function: str, capacity: Any) -> None:
    """Raises a ``ValueError`` where a capacity came with a dense array."""
    if capacity is not None:
        wording = "left out for a dense array"
        raise ValueError(expected(function, "capacity", wording, capacity))


def no_plan(function: str, x: Any, **arguments: Any) -> None:
    """Raises a ``ValueError`` where arguments came that only a ``VoxelTensor`` takes."""
    for name, value in arguments.items():
        if value is not None:
            wording = "left out unless x is a voxel.VoxelTensor"
            raise ValueError(expected(function, name, wording, f"{kind(value)} for {kind(x)}"))


def hashable(value: Any) -> Any:
    """Lists as tuples: what is static in a module is part of its definition, which jit looks up by hash."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def kernel_size_of(
    function: str, value: Any, max_dims: int = windows.MAX_DIMS, argument: str = "kernel_size"
) -> tuple[int, ...]:
    """The extent of a kernel (or window); an integer means one spatial dimension."""
    if not checks.is_sequence(value) or isinstance(value, str):
        wording = f"an integer or a sequence of 1 to {max_dims}"
        value = (checks.integer(function, argument, value, minimum=1, wording=wording),)
    if not 1 <= len(value) <= max_dims:
        wording = f"an integer or 1 to {max_dims} of them"
        raise ValueError(checks.expected(function, argument, wording, tuple(value)))
    return checks.integers(function, argument, value, dims=len(value))
