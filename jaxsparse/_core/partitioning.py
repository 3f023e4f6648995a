"""Kernels in automatically partitioned programs: a batch that is sharded stays sharded.

Without these rules XLA gathers every operand of a custom call on every device.
"""

import functools
import math
from collections.abc import Callable, Sequence

import jax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxsparse._core import manual_axes

Function = Callable[..., tuple[jax.Array, ...]]


# One for each call that kernel.py remembers: its operands' and results' ranks are fixed.
@functools.lru_cache(maxsize=4096)
def partitioned(
    function: Function,
    batched: tuple[bool, ...],
    summed: tuple[bool, ...],
    operand_ranks: tuple[int, ...],
    result_ranks: tuple[int, ...],
) -> Function:
    """``function`` with rules for the partitioner: every device runs it on its part of the batch.

    Only the batch axis is ever sharded, over one mesh axis or several. Results that are sums over the batch are summed
    over the devices.

    Args:
      function: takes arrays, returns a tuple of arrays.
      batched: which operands have the batch as axis 0.
      summed: which results are sums over the batch; the others have it as axis 0.
      operand_ranks: one for each operand.
      result_ranks: one for each result.
    """
    has_batch = tuple(not is_sum for is_sum in summed)

    def shardings(mesh, axes, batch_flags, ranks):
        return tuple(
            NamedSharding(mesh, PartitionSpec(axes, *(None,) * (rank - 1)))
            if is_batched
            else NamedSharding(mesh, PartitionSpec(*(None,) * rank))
            for is_batched, rank in zip(batch_flags, ranks, strict=True)
        )

    def partition(mesh, operands, results):
        axes = _batch_axes(mesh, operands, batched)

        def on_one_device(*parts):
            return manual_axes.sum_over(axes, function(*parts), summed)

        return (
            mesh,
            on_one_device,
            shardings(mesh, axes, has_batch, result_ranks),
            shardings(mesh, axes, batched, operand_ranks),
        )

    def infer_sharding(mesh, operands, results):  # asked by the older partitioner, GSPMD
        axes = _batch_axes(mesh, operands, batched)
        return shardings(mesh, axes, has_batch, result_ranks)

    call = custom_partitioning(lambda *operands: function(*operands))
    rule, others = _sharding_rule(batched, has_batch, operand_ranks, result_ranks)
    call.def_partition(
        partition=partition,
        infer_sharding_from_operands=infer_sharding,
        sharding_rule=rule,
        need_replication_factors=others,
    )
    return call


def _batch_axes(mesh: Mesh, operands: Sequence, batched: Sequence[bool]):
    """The mesh axes that the batch is sharded over, as the first operand that is sharded has it; None: it is not."""
    for operand, is_batched in zip(operands, batched, strict=True):
        # Without a mesh (XLA's own notation of a sharding) the batch is gathered.
        spec = getattr(operand.sharding, "spec", ()) if is_batched else ()
        if spec and spec[0] is not None:
            axes = spec[0] if isinstance(spec[0], tuple) else (spec[0],)
            parts = math.prod(mesh.shape[axis] for axis in axes)
            # XLA would pad a batch that does not divide, and sums must not see padding.
            return axes if operand.shape[0] % parts == 0 else None
    return None


def _sharding_rule(batched, has_batch, operand_ranks, result_ranks):
    """Shardy's rule: ``b`` runs through operands and results, every other axis is on its own and must be whole."""
    others: list[str] = []

    def axes(is_batched, rank):
        names = ["b"] if is_batched else []
        while len(names) < rank:
            others.append(f"z{len(others)}")
            names.append(others[-1])
        return " ".join(names)

    def side(flags, ranks):
        return ", ".join(axes(b, rank) for b, rank in zip(flags, ranks, strict=True))

    return f"{side(batched, operand_ranks)} -> {side(has_batch, result_ranks)}", tuple(others)
