"""Checks of what a network is built from."""

from typing import Any

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks
from jaxsparse._core.checks import expected

Stages = tuple[tuple[int, ...], ...]


def size(argument: str, value: Any) -> int:
    """A positive integer."""
    return checks.integer("OctNet3", argument, value, minimum=1)


def stages(argument: str, value: Any) -> Stages:
    """Output channels, stage by stage."""
    wording = "a sequence of stages, each a sequence of at least one width"
    is_sequence = checks.is_sequence(value) and all(map(checks.is_sequence, value))
    if not is_sequence or any(isinstance(stage, str) for stage in (value, *value)):
        raise TypeError(checks.expected("OctNet3", argument, wording, repr(value)))
    if not len(value) or not all(map(len, value)):
        raise ValueError(checks.expected("OctNet3", argument, wording, repr(value)))
    return tuple(
        tuple(size(f"{argument}[{i}][{j}]", width) for j, width in enumerate(stage))
        for i, stage in enumerate(value)
    )


def densities(value: Any, count: int) -> tuple[float, ...]:
    """One density bound for each of ``count`` stages."""
    wording = f"a sequence of {count} densities, one a stage"
    if not checks.is_sequence(value) or isinstance(value, str):
        raise TypeError(checks.expected("OctNet3", "densities", wording, repr(value)))
    if len(value) != count:
        raise ValueError(checks.expected("OctNet3", "densities", wording, tuple(value)))
    return tuple(
        capacities.share_of("OctNet3", f"densities[{i}]", density)
        for i, density in enumerate(value)
    )


def sizes(
    function: str, argument: str, value: Any, count: int | None = None, meaning: str = "one a stage"
) -> tuple[int, ...]:
    """A list of numbers above 0."""
    wording = "a sequence of integers" if count is None else f"{count} integers, {meaning}"
    if not checks.is_sequence(value) or isinstance(value, str):
        raise TypeError(expected(function, argument, wording, repr(value)))
    if len(value) == 0 or (count is not None and len(value) != count):
        raise ValueError(expected(function, argument, wording, tuple(value)))
    return tuple(
        checks.integer(function, f"{argument}[{i}]", n, minimum=1) for i, n in enumerate(value)
    )


def level_densities(function: str, value: Any, count: int) -> tuple[float | None, ...]:
    """A density bound for each of ``count`` levels, or none for all."""
    if value is None:
        return (None,) * count
    wording = f"a sequence of {count} densities"
    if not checks.is_sequence(value) or isinstance(value, str):
        raise TypeError(expected(function, "densities", wording, repr(value)))
    if len(value) != count:
        raise ValueError(expected(function, "densities", wording, tuple(value)))
    return tuple(
        capacities.share_of(function, f"densities[{i}]", density) for i, density in enumerate(value)
    )
