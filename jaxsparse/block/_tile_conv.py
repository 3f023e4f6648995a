"""Convolutions of gathered tiles, in the form that XLA runs fastest."""

import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core.derivatives import backward_of, custom_vjp

MANY = 96
"""Channels from which on patches pay, measured."""
CACHE = 8 << 20
"""Bytes of patches that a cache may be expected to hold."""


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
    dropped; few tiles of many channels become a product of their patches. Elsewhere, and in the backward pass, it is XLA's
    convolution as it stands.
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
    return _conv(form, y, kernel) if wide else _as_it_stands(form, y, kernel)


@custom_vjp(static=1)
def _conv(form, y, kernel):
    def on_cpu(y, kernel):
        if _patches_fit(form, y, kernel):
            return _product_of_patches(form, y, kernel)
        return _side_by_side(form, y, kernel)

    def as_it_stands(y, kernel):
        return _as_it_stands(form, y, kernel)

    return jax.lax.platform_dependent(y, kernel, cpu=on_cpu, default=as_it_stands)


@backward_of(_conv)
def _conv_bwd(form, y, kernel, cotangent):
    _, pull = jax.vjp(lambda y, kernel: _as_it_stands(form, y, kernel), y, kernel)
    return pull(cotangent)


def _as_it_stands(form: Form, y: jax.Array, kernel: jax.Array) -> jax.Array:
    return _xla(form, y, kernel, [(0, 0)] * len(form.strides))


def _patches_fit(form: Form, y: jax.Array, kernel: jax.Array) -> bool:
    """Whether a product is fast: enough channels on both sides, and patches that stay in the cache."""
    *_, taken, made = kernel.shape
    numbers = y.shape[0] * math.prod(_sizes(form, y, kernel)) * math.prod(kernel.shape[:-1])
    return taken >= MANY and made >= MANY and numbers * y.dtype.itemsize <= CACHE


def _product_of_patches(form: Form, y: jax.Array, kernel: jax.Array) -> jax.Array:
    sizes = _sizes(form, y, kernel)
    taps = []
    for tap in np.ndindex(*kernel.shape[:-2]):
        starts = [i * d for i, d in zip(tap, form.dilation, strict=True)]
        window = [
            slice(i, i + (n - 1) * s + 1, s)
            for i, n, s in zip(starts, sizes, form.strides, strict=True)
        ]
        taps.append(y[(slice(None), *window)])
    flat = kernel.reshape(-1, kernel.shape[-1])
    precision: Any = form.precision
    return jnp.dot(jnp.concatenate(taps, -1), flat, precision=precision)


def _sizes(form: Form, y: jax.Array, kernel: jax.Array) -> list[int]:
    """Of the outputs of a tile."""
    return [
        (n - (k - 1) * d - 1) // s + 1
        for n, k, d, s in zip(
            y.shape[1:-1], kernel.shape, form.dilation, form.strides, strict=False
        )
    ]


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
