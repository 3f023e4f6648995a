"""Arguments that may be sparse or dense."""

from typing import Any, TypeVar

import jax

from jaxsparse import direct
from jaxsparse._core.checks import expected, kind

Activation = TypeVar("Activation", direct.SparseTensor, jax.Array)


def same_kind(function: str, name: str, x: Any, other_name: str, other: Any) -> None:
    """Raises a ``TypeError`` where one is a ``SparseTensor`` and the other is not."""
    sparse = isinstance(x, direct.SparseTensor)
    if sparse != isinstance(other, direct.SparseTensor):
        wording = f"{'a' if sparse else 'no'} direct.SparseTensor, as {name}"
        raise TypeError(expected(function, other_name, wording, kind(other)))


def no_capacity(function: str, capacity: Any) -> None:
    """Raises a ``ValueError`` where a capacity came with a dense array."""
    if capacity is not None:
        wording = "left out for a dense array"
        raise ValueError(expected(function, "capacity", wording, capacity))
