"""Sums over the entries of a channel and affine maps with a number a channel, in float32 or float64.

With keys fixed, ``channel_dot`` and ``channel_affine`` are multilinear, and the gradients of each are made of the two:
reverse mode of any order needs no more.
"""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.direct import _kernels

Optional = jax.Array | None


def channel_dot(
    static: _kernels.ChannelDot,
    keys: jax.Array,
    a: Optional = None,
    a_shift: Optional = None,
    b: Optional = None,
    b_shift: Optional = None,
) -> jax.Array:
    """``[C]``: the sum of ``(a - a_shift) * (b - b_shift)`` over the batch and the stored entries.

    A factor whose array is None is 1: without any it counts the entries. Shifts have shape ``[C]``, None is 0.
    """
    return _channel_dot(static, *_kernels.channel_dot.align(keys, a, a_shift, b, b_shift))


def channel_affine(
    volume: int, keys: jax.Array, x: Optional, shift: Optional, scale: jax.Array, offset: Optional
) -> jax.Array:
    """``[B, C, K]``: ``(x - shift) * scale + offset`` at stored entries, 0 in unused slots.

    ``x`` None: 1 in place of ``x - shift``. Shift, scale and offset have shape ``[C]``, None is 0.
    """
    return _channel_affine(volume, *_kernels.channel_affine.align(keys, x, shift, scale, offset))


@custom_vjp(static=1)
def _channel_dot(static, keys, a, a_shift, b, b_shift):
    (total,) = _kernels.channel_dot(static, keys, a, a_shift, b, b_shift)
    return total


@backward_of(_channel_dot)
def _channel_dot_bwd(static, keys, a, a_shift, b, b_shift, cotangent):
    def gradients(x, x_shift, other, other_shift):
        if x is None:
            return None, None
        to_x = channel_affine(static.volume, keys, other, other_shift, cotangent, None)
        if x_shift is None:
            return to_x, None
        return to_x, -cotangent * channel_dot(static, keys, other, other_shift)

    return None, *gradients(a, a_shift, b, b_shift), *gradients(b, b_shift, a, a_shift)


@custom_vjp(static=1)
def _channel_affine(volume, keys, x, shift, scale, offset):
    (out,) = _kernels.channel_affine(volume, keys, x, shift, scale, offset)
    return out


@backward_of(_channel_affine)
def _channel_affine_bwd(volume, keys, x, shift, scale, offset, cotangent):
    dot = _kernels.ChannelDot(volume, scale.dtype.name)
    total = None
    if offset is not None or shift is not None:
        total = channel_dot(dot, keys, cotangent)
    return (
        None,
        None if x is None else channel_affine(volume, keys, cotangent, None, scale, None),
        None if shift is None else -scale * total,
        channel_dot(dot, keys, cotangent, None, x, shift),
        None if offset is None else total,
    )
