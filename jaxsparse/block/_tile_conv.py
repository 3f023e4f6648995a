"""Convolutions of gathered tiles, in the form that XLA runs fastest."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core.derivatives import backward_of, custom_vjp


class Form(NamedTuple):
    """Static: a convolution without padding."""

    strides: tuple[int, ...]
    dilation: tuple[int, ...]
    precision: Hashable


def tile_conv(
    y: jax.Array, kernel: jax.Array, strides: tuple[int, ...], dilation: tuple[int, ...],
    precision: Any,
) -> jax.Array:  # fmt: skip
    """``VALID``: ``[M, *size, in]`` and ``[*kernel, in, out]`` to ``[M, *size, out]``.

    A kernel of one tap is a matrix product: XLA's convolution takes three times as long for it on the CPU. So does that of
    many small images: on the CPU tiles are laid side by side into one wide image, whose outputs across the seams are
    dropped. Elsewhere, and in the backward pass, it is XLA's convolution as it stands.
    """
    dims = len(strides)
    if kernel.shape[:dims] == (1,) * dims:
        if max(strides) > 1:
            y = y[(slice(None), *(slice(None, None, s) for s in strides))]
        contraction = (((y.ndim - 1,), (0,)), ((), ()))
        kernel = kernel.reshape(kernel.shape[dims:])
        return jax.lax.dot_general(y, kernel, contraction, precision=precision)
    form = Form(tuple(strides), tuple(dilation), _hashable(precision))
    wide = dims == 2 and y.dtype in (jnp.float32, jnp.float64) and isinstance(y.shape[0], int)
    # The one tile of a list of one is an image of its own.
    return _conv(form, y, kernel) if wide and y.shape[0] > 1 else _as_it_stands(form, y, kernel)


@custom_vjp(static=1)
def _conv(form, y, kernel):
    def side_by_side(y, kernel):
        return _side_by_side(form, y, kernel)

    def as_it_stands(y, kernel):
        return _as_it_stands(form, y, kernel)

    return jax.lax.platform_dependent(y, kernel, cpu=side_by_side, default=as_it_stands)


@backward_of(_conv)
def _conv_bwd(form, y, kernel, cotangent):
    _, pull = jax.vjp(lambda y, kernel: _as_it_stands(form, y, kernel), y, kernel)
    return pull(cotangent)


def _as_it_stands(form: Form, y: jax.Array, kernel: jax.Array) -> jax.Array:
    return _xla(form, y, kernel, [(0, 0)] * len(form.strides))


def _side_by_side(form: Form, y: jax.Array, kernel: jax.Array) -> jax.Array:
    (_, stride), (_, dilation) = form.strides, form.dilation
    rows, height, width, channels = y.shape
    extent = (kernel.shape[1] - 1) * dilation + 1
    # Every tile has a whole number of outputs in the row; its own come first.
    y = jnp.pad(y, ((0, 0), (0, 0), (0, -width % stride), (0, 0))).transpose(1, 0, 2, 3)
    y = y.reshape(1, height, -1, channels)
    y = _xla(form, y, kernel, [(0, 0), (0, max(extent - stride, 0))])
    y = y.reshape(y.shape[1], rows, -1, y.shape[-1])
    return y[:, :, : (width - extent) // stride + 1].transpose(1, 0, 2, 3)


def _xla(form: Form, y: jax.Array, kernel: jax.Array, padding: list[tuple[int, int]]) -> jax.Array:
    spatial = "DHW"[3 - len(form.strides) :]
    return jax.lax.conv_general_dilated(
        y,
        kernel,
        form.strides,
        padding,
        rhs_dilation=form.dilation,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
        precision=form.precision,  # pyright: ignore[reportArgumentType]
    )


def _hashable(precision: Any) -> Hashable:
    return tuple(precision) if isinstance(precision, list) else precision
