"""How many entries an output may store."""

import math
from typing import Any

from jaxsparse._core.checks import LARGEST, expected, integer, real


def resolve(function: str, capacity: Any, density: Any, *, volume: int, bound: int) -> int:
    """The capacity of an output.

    Args:
      function: who asks, for errors.
      capacity: entries of a (batch, channel) list, or None.
      density: the same as a share of the volume, ``ceil(density * volume - 1e-6)``, or None.
      volume: voxels of the output.
      bound: what cannot overflow; taken where both are left out.

    Raises:
      ValueError: both are given, or the result is 0.
      TypeError: not numbers.
    """
    capacity, density = check(function, capacity, density)
    if capacity is not None:
        return capacity
    if density is not None:
        return _of_density(function, density, volume)
    return min(max(bound, 1), LARGEST)


def check(function: str, capacity: Any, density: Any) -> tuple[int | None, float | None]:
    """The two arguments, checked as far as is possible without the volume."""
    if capacity is not None and density is not None:
        message = f"capacity={capacity} and density={density}"
        raise ValueError(expected(function, "capacity or density", "given, not both", message))
    if capacity is not None:
        return integer(function, "capacity", capacity, minimum=1), None
    return None, None if density is None else share_of(function, "density", density)


def share_of(function: str, argument: str, density: Any) -> float:
    """A share of a volume: positive and finite."""
    share = real(function, argument, density)
    if not 0 < share < math.inf:
        raise ValueError(expected(function, argument, "a positive, finite number", density))
    return share


def _of_density(function: str, density: float, volume: int) -> int:
    capacity = math.ceil(density * volume - 1e-6)
    if not 1 <= capacity <= LARGEST:
        what = f"{density}, which is {capacity} of {volume} voxels"
        wording = f"such that 1 to {LARGEST} entries may be stored"
        raise ValueError(expected(function, "density", wording, what))
    return capacity
