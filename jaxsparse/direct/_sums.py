"""Sums over the stored entries of a channel."""

import jax
import jax.numpy as jnp

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.entries import is_stored
from jaxsparse.direct import _kernels


def channel_sum(volume: int, keys: jax.Array, values: jax.Array) -> jax.Array:
    """``[C]``: the sum of a channel's stored values over the batch. Its gradient goes to every stored entry."""
    return _channel_sum(volume, *_kernels.channel_sum.align(keys, values))


@custom_vjp(static=1)
def _channel_sum(volume, keys, values):
    (total,) = _kernels.channel_sum(volume, keys, values)
    return total


@backward_of(_channel_sum)
def _channel_sum_bwd(volume, keys, cotangent):
    zeros = jnp.zeros_like(keys, dtype=cotangent.dtype)
    return None, jnp.where(is_stored(keys, volume), cotangent[None, :, None] + zeros, zeros)
