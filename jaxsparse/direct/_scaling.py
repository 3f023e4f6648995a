"""Entries times one of two numbers: what an activation with two slopes and dropout have in common."""

import jax
import jax.numpy as jnp

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.entries import wide_dtype
from jaxsparse.direct import _kernels


def masked_scale(
    volume: int, factors: tuple[float, float], keys: jax.Array, values: jax.Array, mask: jax.Array
) -> jax.Array:
    """``values`` times ``factors[0]`` where the mask is True, else times ``factors[1]``; 0 in unused slots.

    The product is rounded once. Times a factor of 0 everything is 0, infinity and NaN included. Linear in the values,
    and its own adjoint.
    """
    factors_of = jnp.asarray(factors, wide_dtype(values.dtype))
    operands = _kernels.masked_scale.align(keys, values, mask, factors_of)
    return _masked_scale(volume, *operands)


@custom_vjp(static=1)
def _masked_scale(volume, keys, values, mask, factors):
    (out,) = _kernels.masked_scale(volume, keys, values, mask, factors)
    return out


@backward_of(_masked_scale)
def _masked_scale_bwd(volume, keys, mask, factors, cotangent):
    return None, _masked_scale(volume, keys, cotangent, mask, factors), None, None
