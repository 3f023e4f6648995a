"""The three bilinear maps of a convolution whose output keys are given.

With input keys ``xk``, output keys ``yk``, mask and geometry fixed, the convolution is linear in the values and in the
kernel. Its two gradients are bilinear as well, and the gradients of each of the three are the other two: reverse mode of
any order needs no more.
"""

import jax

from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.windows import Convolution
from jaxsparse.direct import _kernels


def conv_at(
    geometry: Convolution,
    xk: jax.Array,
    xv: jax.Array,
    kernel: jax.Array,
    mask: jax.Array | None,
    yk: jax.Array,
) -> jax.Array:
    """The response at the keys ``yk``, ``[B, Co, Ko]``: no bias, no selection."""
    return _conv_at(geometry, *_kernels.conv_at.align(xk, xv, kernel, mask, yk))


def input_grad(
    geometry: Convolution,
    xk: jax.Array,
    kernel: jax.Array,
    mask: jax.Array | None,
    yk: jax.Array,
    gy: jax.Array,
) -> jax.Array:
    """Cotangents of the stored inputs, ``[B, Ci, K]``."""
    return _input_grad(geometry, *_kernels.conv_input_grad.align(xk, kernel, mask, yk, gy))


def kernel_grad(
    geometry: Convolution,
    xk: jax.Array,
    xv: jax.Array,
    mask: jax.Array | None,
    yk: jax.Array,
    gy: jax.Array,
) -> jax.Array:
    """Cotangents of the weights, ``[*k, Ci, Co]``: summed over the batch, 0 where masked."""
    return _kernel_grad(geometry, *_kernels.conv_kernel_grad.align(xk, xv, mask, yk, gy))


@custom_vjp(static=1)
def _conv_at(geometry, xk, xv, kernel, mask, yk):
    (yv,) = _kernels.conv_at(geometry, xk, xv, kernel, mask, yk)
    return yv


@backward_of(_conv_at)
def _conv_at_bwd(geometry, xk, xv, kernel, mask, yk, gy):
    gx = input_grad(geometry, xk, kernel, mask, yk, gy)
    return None, gx, kernel_grad(geometry, xk, xv, mask, yk, gy), None, None


@custom_vjp(static=1)
def _input_grad(geometry, xk, kernel, mask, yk, gy):
    (gx,) = _kernels.conv_input_grad(geometry, xk, kernel, mask, yk, gy)
    return gx


@backward_of(_input_grad)
def _input_grad_bwd(geometry, xk, kernel, mask, yk, gy, cotangent):
    to_kernel = kernel_grad(geometry, xk, cotangent, mask, yk, gy)
    return None, to_kernel, None, None, conv_at(geometry, xk, cotangent, kernel, mask, yk)


@custom_vjp(static=1)
def _kernel_grad(geometry, xk, xv, mask, yk, gy):
    (gw,) = _kernels.conv_kernel_grad(geometry, xk, xv, mask, yk, gy)
    return gw


@backward_of(_kernel_grad)
def _kernel_grad_bwd(geometry, xk, xv, mask, yk, gy, cotangent):
    to_values = input_grad(geometry, xk, cotangent, mask, yk, gy)
    return None, to_values, None, None, conv_at(geometry, xk, xv, cotangent, mask, yk)
