"""The bilinear maps of a convolution over a kernel map.

With the map fixed, the convolution is linear in the features and in the kernel. Its gradients are a convolution over the
map's other direction and a sum of outer products, and the gradients of each of these are the others again: reverse mode of
any order needs no more.

Every function takes both directions of the map, ``there`` (``[K, M]``, the row of the first list that each row of the
second meets) and ``back`` (``[K, N]``); forward passes hand only ``there`` to a kernel. Results have the type of the
accumulator. A cotangent is rounded to the type of the features: what it comes from was rounded to that, so nothing is lost.
"""

import jax

from jaxsparse._core import explicit_axes, manual_axes
from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse.voxel import _conv_kernels
from jaxsparse.voxel._conv_kernels import Conv


def conv(
    static: Conv, features: jax.Array, kernel: jax.Array, there: jax.Array, back: jax.Array
) -> jax.Array:
    """``[M, Co]`` from features ``[N, Ci]`` and a kernel ``[K, Ci / groups, Co]``."""
    return _conv(static, *_aligned(features, kernel, there, back))


def kernel_grad(
    groups: int, features: jax.Array, cotangent: jax.Array, there: jax.Array, back: jax.Array
) -> jax.Array:
    """``[K, Ci / groups, Co]`` from features ``[N, Ci]`` and cotangents ``[M, Co]``."""
    return _kernel_grad(groups, *_aligned(features, cotangent, there, back))


def _aligned(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(explicit_axes.align(manual_axes.unify(*arrays), (False,) * len(arrays)))


@custom_vjp(static=1)
def _conv(static, features, kernel, there, back):
    (out,) = _conv_kernels.map_conv(static, features, kernel, there)
    return out


@backward_of(_conv)
def _conv_bwd(static, features, kernel, there, back, cotangent):
    g = cotangent.astype(features.dtype)
    other_way = Conv(static.groups, not static.transposed)
    to_features = conv(other_way, g, kernel, back, there)
    if static.transposed:
        to_kernel = kernel_grad(static.groups, g, features, back, there)
    else:
        to_kernel = kernel_grad(static.groups, features, g, there, back)
    return to_features.astype(features.dtype), to_kernel.astype(kernel.dtype), None, None


@custom_vjp(static=1)
def _kernel_grad(groups, features, g, there, back):
    (out,) = _conv_kernels.map_conv_kernel_grad(groups, features, g, there)
    return out


@backward_of(_kernel_grad)
def _kernel_grad_bwd(groups, features, g, there, back, cotangent):
    kernel = cotangent.astype(features.dtype)
    to_features = conv(Conv(groups, True), g, kernel, back, there)
    to_g = conv(Conv(groups), features, kernel, there, back)
    return to_features.astype(features.dtype), to_g.astype(g.dtype), None, None
