"""Meshes with explicit axes, where shardings are part of the types.

Operands and results of a kernel are sharded along the batch and nowhere else. The types say how, so that the call is a
``shard_map``.
"""

from collections.abc import Callable, Sequence

import jax
from jax.sharding import PartitionSpec

from jaxsparse._core import manual_axes

Function = Callable[..., tuple[jax.Array, ...]]


def align(arrays: Sequence[jax.Array], batched: Sequence[bool]) -> tuple[jax.Array, ...]:
    """The arrays, resharded: those with a batch along it, as the first one that is sharded has it; others replicated."""
    if not in_use():
        return tuple(arrays)
    axes = _batch_axes(arrays, batched)
    wanted = [_spec(axes if b else None, x.ndim) for x, b in zip(arrays, batched, strict=True)]
    return tuple(
        x if _full_spec(x) == spec else jax.sharding.reshard(x, spec)
        for x, spec in zip(arrays, wanted, strict=True)
    )


def replicate(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays, gathered on every device: lists that are sorted or made as a whole, without a batch axis."""
    if not in_use():
        return arrays
    return tuple(
        x if _full_spec(x) == (spec := _spec(None, x.ndim)) else jax.sharding.reshard(x, spec)
        for x in arrays
    )


def in_use() -> bool:
    """Whether the surrounding code has a mesh with explicit axes."""
    return bool(jax.sharding.get_abstract_mesh().explicit_axes)


def call(
    function: Function,
    operands: Sequence[jax.Array],
    batched: Sequence[bool],
    summed: Sequence[bool],
    result_ranks: Sequence[int],
) -> tuple[jax.Array, ...]:
    """``function`` of aligned operands: every device on its part of the batch, sums over all of them."""
    axes = _batch_axes(operands, batched)

    def on_one_device(*parts):
        return manual_axes.sum_over(axes, function(*parts), summed)

    return jax.shard_map(
        on_one_device,
        in_specs=tuple(
            _spec(axes if b else None, x.ndim) for x, b in zip(operands, batched, strict=True)
        ),
        out_specs=tuple(
            _spec(None if is_sum else axes, rank)
            for is_sum, rank in zip(summed, result_ranks, strict=True)
        ),
    )(*operands)


def _spec(axes, rank: int) -> PartitionSpec:
    return PartitionSpec(*(axes, *(None,) * rank)[:rank])


def _full_spec(x: jax.Array) -> PartitionSpec:
    spec = tuple(jax.typeof(x).sharding.spec)
    return PartitionSpec(*spec, *(None,) * (x.ndim - len(spec)))


def _batch_axes(arrays: Sequence[jax.Array], batched: Sequence[bool]):
    first = (_full_spec(x)[0] for x, b in zip(arrays, batched, strict=True) if b)
    return next((axes for axes in first if axes is not None), None)
