"""Types inside ``shard_map``: which mesh axes a value varies over.

A value that differs from device to device along a manual mesh axis *varies* over it, and with ``check_vma=True`` JAX
tracks that in its type. FFI results do not take it from their operands, so it is declared here; and operands that a
custom derivative sees are made to vary alike, outside of it, so that JAX sums the weight gradients over the devices
(the transpose of that cast is the all-reduce).
"""

from collections.abc import Sequence

import jax
from jax.sharding import ManualAxisType, NamedSharding, PartitionSpec


def varying(*arrays: jax.Array) -> frozenset[str]:
    """The manual mesh axes that any of the arrays varies over; none outside ``shard_map``."""
    return frozenset().union(*(jax.typeof(x).manual_axis_type.varying for x in arrays))


def inside_shard_map() -> bool:
    """Whether the surrounding code is manual over a mesh axis (with ``check_vma`` or without)."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def unify(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays, all varying over the union of their axes."""
    axes = varying(*arrays)

    def cast(x):
        missing = tuple(axes - jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return tuple(cast(x) for x in arrays)


def sum_over(axes, values: Sequence[jax.Array], summed: Sequence[bool]) -> tuple[jax.Array, ...]:
    """The values, those that are sums over the batch summed over the mesh axes that share it (None: none)."""
    if axes is None:
        return tuple(values)
    return tuple(
        jax.lax.psum(value, axes) if is_sum else value
        for value, is_sum in zip(values, summed, strict=True)
    )


def result_type(shape, dtype, axes: frozenset[str]) -> jax.ShapeDtypeStruct:
    """The type of an FFI result that varies over ``axes``."""
    if not axes:
        return jax.ShapeDtypeStruct(shape, dtype)
    mesh = jax.sharding.get_abstract_mesh()
    return jax.ShapeDtypeStruct(
        shape,
        dtype,
        sharding=NamedSharding(mesh, PartitionSpec(*(None,) * len(shape))),
        manual_axis_type=ManualAxisType(varying=axes),
    )
