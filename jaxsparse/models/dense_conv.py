"""The convolution of dense twins: on CPUs three spatial dimensions are computed as two."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Pads = Sequence[tuple[int, int]]


def dense_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: str | Pads,
    *,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    **options: Any,
) -> jax.Array:
    """``lax.conv_general_dilated``, to be given to ``nnx.Conv`` as ``conv_general_dilated``.

    XLA's CPU convolution is slow in three dimensions and fast in two. There a convolution of volumes becomes one of
    images, ``kernel[0] * in`` channels each: a plane of the volume with its neighbours under the kernel. The result and
    the gradients are the same to rounding; it takes ``kernel[0]`` times the memory of ``x``. On other platforms, for other
    numbers of dimensions, and with an option that it does not know it is ``lax.conv_general_dilated`` itself.

    Args:
      x: ``[batch, *spatial, in]``.
      kernel: ``[*kernel, in, out]``.
      strides: one for each spatial dimension.
      padding: ``"SAME"``, ``"VALID"`` or ``(low, high)`` for each spatial dimension.
      lhs_dilation: dilation of ``x``.
      rhs_dilation: dilation of ``kernel``.
      **options: those of ``lax.conv_general_dilated``; ``dimension_numbers`` have to say what stands above.

    Returns:
      ``[batch, *out_spatial, out]``.

    Raises:
      ValueError, TypeError: as ``lax.conv_general_dilated``.

    >>> import jax.numpy as jnp
    >>> from jaxsparse.models.dense_conv import dense_conv
    >>> numbers = ("NXYZC", "XYZIO", "NXYZC")
    >>> x, kernel = jnp.ones((1, 4, 4, 4, 1)), jnp.ones((3, 3, 3, 1, 2))
    >>> dense_conv(x, kernel, (1, 1, 1), "VALID", dimension_numbers=numbers)[0, 0, 0, 0]
    Array([27., 27.], dtype=float32)
    """
    plain = functools.partial(
        lax.conv_general_dilated,
        window_strides=strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        **options,
    )
    known = {"dimension_numbers", "precision"}
    others = {k: v for k, v in options.items() if k not in known and v is not None}
    if (
        x.ndim != 5
        or others not in ({}, {"feature_group_count": 1})
        or set(lhs_dilation or ()) > {1}
    ):
        return plain(x, kernel)
    dilation = tuple(rhs_dilation or (1, 1, 1))
    extent = [d * (k - 1) + 1 for k, d in zip(kernel.shape[:3], dilation, strict=True)]
    pads = (
        lax.padtype_to_pads(x.shape[1:4], extent, strides, padding)
        if isinstance(padding, str)
        else padding
    )
    in_planes = functools.partial(
        _in_planes,
        strides=tuple(strides),
        pads=tuple(pads),
        dilation=dilation,
        precision=options.get("precision"),
    )
    return lax.platform_dependent(x, kernel, cpu=in_planes, default=plain)


def _in_planes(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: tuple[int, ...],
    pads: Pads,
    dilation: tuple[int, ...],
    precision: Any,
) -> jax.Array:
    length, channels = kernel.shape[0], x.shape[-1]
    around = ((0, 0, 0), (*pads[0], 0), (0, 0, 0), (0, 0, 0), (0, 0, 0))
    padded = lax.pad(x, jnp.zeros((), x.dtype), around)
    planes = (padded.shape[1] - dilation[0] * (length - 1) - 1) // strides[0] + 1
    under_kernel = [
        lax.slice_in_dim(padded, at, at + (planes - 1) * strides[0] + 1, strides[0], axis=1)
        for at in range(0, length * dilation[0], dilation[0])
    ]
    images = jnp.concatenate(under_kernel, -1).reshape(-1, *x.shape[2:4], length * channels)
    flat = jnp.moveaxis(kernel, 0, 2).reshape(*kernel.shape[1:3], length * channels, -1)
    y = lax.conv_general_dilated(
        images,
        flat,
        strides[1:],
        pads[1:],
        rhs_dilation=dilation[1:],
        dimension_numbers=("NYZC", "YZIO", "NYZC"),
        precision=precision,
    )
    return y.reshape(x.shape[0], planes, *y.shape[1:])
