"""``vmap`` of kernels that have a batch axis: the mapped axis joins it."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Function = Callable[..., tuple[jax.Array, ...]]


def vmappable(function: Function, batched: Sequence[bool], summed: Sequence[bool]) -> Function:
    """``function`` with a rule for ``vmap``, to any depth.

    The mapped axis is folded *inside* the batch axis, ``[B, V] -> B * V``: a batch that is sharded over devices stays
    so, which the other order would not allow. Where an operand that the batch shares is mapped, or the result is a sum
    over the batch, there is nothing to fold into and the calls are made one after the other. (Kernel gradients of V
    examples could be one call with V times the channels on both sides, masked to the diagonal blocks: V times the
    memory of the result, which is not bounded by what the user asked for.)
    """
    call = jax.custom_batching.custom_vmap(function)

    @call.def_vmap
    def rule(size, mapped, *operands):
        folds = not any(summed) and all(b or not m for b, m in zip(batched, mapped, strict=True))
        results = (_fold if folds else _map)(call, size, batched, mapped, operands)
        return results, (True,) * len(summed)

    return call


def _fold(call, size, batched, mapped, operands):
    def fold(x, is_mapped):
        if is_mapped:
            x = jnp.moveaxis(x, 0, 1)
        else:
            x = jnp.broadcast_to(x[:, None], (x.shape[0], size, *x.shape[1:]))
        return x.reshape(x.shape[0] * size, *x.shape[2:])

    def unfold(x, batch):
        return jnp.moveaxis(x.reshape(batch, size, *x.shape[1:]), 1, 0)

    terms = list(zip(operands, batched, mapped, strict=True))
    batch = next(x.shape[1 if m else 0] for x, b, m in terms if b)
    results = call(*(fold(x, m) if b else x for x, b, m in terms))
    return tuple(unfold(x, batch) for x in results)


def _map(call, size, batched, mapped, operands):
    def one(slices):
        rest = iter(slices)
        return call(*(next(rest) if m else x for x, m in zip(operands, mapped, strict=True)))

    return jax.lax.map(one, [x for x, m in zip(operands, mapped, strict=True) if m])
