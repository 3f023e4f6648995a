"""Convolution of the active blocks of an image."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse._core.windows import Convolution, Padding
from jaxsparse.block import _arguments
from jaxsparse.block._tile_conv import tile_conv
from jaxsparse.block.gather import gather
from jaxsparse.block.geometry import Geometry
from jaxsparse.block.indices import BlockIndices, check_blocks
from jaxsparse.block.scatter import scatter, scatter_new


def conv(
    x: jax.typing.ArrayLike,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    blocks: BlockIndices,
    base: jax.typing.ArrayLike | None = None,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    precision: Any = jax.lax.Precision.HIGHEST,
) -> jax.Array:
    """The dense convolution where blocks are active, ``base`` elsewhere.

    Gather, XLA's convolution of the windows, scatter. At every pixel of the tile of an active block the result is that of
    ``lax.conv_general_dilated`` on the whole image plus the bias, at the border of the image, too. Gradients reach the
    pixels, weights and base that take part. Differentiable in reverse mode, to any order; ``base`` is written in place
    as by :func:`scatter`.

    Args:
      x: float ``[batch, *spatial, in]``.
      kernel: ``[*kernel, in, out]`` of the dtype of ``x``.
      bias: ``[out]`` of that dtype, or None.
      blocks: :class:`BlockIndices` with a geometry that fits this convolution: ``block.geometry(spatial, size,
        kernel_sizes=(kernel,), strides=(strides,), ...)`` does.
      base: ``[batch, *output spatial, out]`` of that dtype; None: zeros.
      strides: an integer or one a spatial dimension.
      padding: as in ``lax.conv_general_dilated``: ``"SAME"``, ``"VALID"``, an integer, or integers or (low, high) pairs.
      kernel_dilation: an integer or one a spatial dimension.
      precision: as in ``lax.conv_general_dilated``. The default is full precision, on a GPU too.

    Returns:
      ``[batch, *output spatial, out]`` of the dtype of ``x``.

    Raises:
      ValueError: shapes that do not fit; a geometry whose tiles this convolution does not reach from its windows.
      TypeError: dtypes that differ or are not floating point; ``blocks`` is no ``BlockIndices``.

    Source: SBNet's block convolution (Ren et al., 2018), with the base made explicit.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import block

      >>> x = jnp.arange(6.0).reshape(1, 6, 1)
      >>> blocks = block.reduce_mask(x[..., 0] > 3, block.geometry((6,), 4, kernel_sizes=3))
      >>> block.conv(x, jnp.ones((3, 1, 1)), blocks=blocks).ravel().tolist()
      [0.0, 0.0, 6.0, 9.0, 12.0, 9.0]
    """
    check_blocks("conv", "blocks", blocks)
    geometry = blocks.geometry
    x = checks.float_array("conv", "x", x)
    x = _arguments.image("conv", "x", x, geometry.window)
    kernel = checks.array("conv", "kernel", kernel)
    dims = geometry.dims
    if kernel.ndim != dims + 2 or 0 in kernel.shape:
        wording = f"of rank {dims + 2}, [*window, in, out], and of no empty axis"
        raise ValueError(expected("conv", "kernel", wording, f"shape {kernel.shape}"))
    if kernel.shape[-2] != x.shape[-1]:
        wording = f"of shape [*window, in, out] with in = {x.shape[-1]}, the channels of x"
        raise ValueError(expected("conv", "kernel", wording, f"shape {kernel.shape}"))
    checks.same_dtype("conv", "kernel", kernel, "x", x.dtype)
    out = kernel.shape[-1]
    if bias is not None:
        bias = checks.array("conv", "bias", bias)
        checks.shape("conv", "bias", bias, (out,), "[out]")
        checks.same_dtype("conv", "bias", bias, "x", x.dtype)
    window = windows.convolution(
        "conv", geometry.spatial_shape, kernel.shape[:dims], strides, padding, kernel_dilation
    )
    lead = _lead(geometry, window)
    shape = (x.shape[0], *window.out_shape, out)
    if base is not None:
        base = checks.array("conv", "base", base)
        checks.shape("conv", "base", base, shape, "[batch, *output spatial, out]")
        checks.same_dtype("conv", "base", base, "x", x.dtype)
    y = on_windows(gather(x, blocks), kernel, window, lead, geometry.tile_size, precision)
    if bias is not None:
        y = y + jnp.broadcast_to(bias, y.shape)
    if base is None:
        return scatter_new(y, blocks, batch_size=x.shape[0])
    return scatter(y, blocks, base)


def on_windows(
    y: jax.Array, kernel: jax.Array, window: Convolution, lead: tuple[int, ...],
    size: tuple[int, ...], precision: Any,
) -> jax.Array:  # fmt: skip
    """The convolution of gathered windows ``[M, *block_size, in]``, of which ``size`` outputs are wanted.

    ``lead``: pixels of the window in front of the first that an output reads.
    """
    for axis, (first, n) in enumerate(zip(lead, size, strict=True)):
        extent = (window.kernel_shape[axis] - 1) * window.dilation[axis] + 1
        last = first + (n - 1) * window.strides[axis] + extent
        y = jax.lax.slice_in_dim(y, first, last, axis=1 + axis)
    return tile_conv(y, kernel, window.strides, window.dilation, precision)


def _lead(geometry: Geometry, window: Convolution) -> tuple[int, ...]:
    """Where in a gathered window the first tap of the tile's first output lies; raises where no window holds it all."""
    before, after = geometry.window, geometry.tile
    if after.spatial_shape != window.out_shape:
        wording = f"of output shape {window.out_shape}, that of this convolution"
        raise ValueError(expected("conv", "blocks.geometry", wording, after.spatial_shape))
    lead = tuple(
        a * s - low - b
        for a, s, (low, _), b in zip(
            after.offset, window.strides, window.padding, before.offset, strict=True
        )
    )
    last = tuple(
        first + (n - 1) * s + (k - 1) * r + 1
        for first, n, s, k, r in zip(
            lead, after.size, window.strides, window.kernel_shape, window.dilation, strict=True
        )
    )
    steps = tuple(a * s for a, s in zip(after.stride, window.strides, strict=True))
    together = all(
        n == 1 or a == b for n, a, b in zip(geometry.grid, steps, before.stride, strict=True)
    )
    if not together or min(lead) < 0 or any(n > m for n, m in zip(last, before.size, strict=True)):
        wording = "such that a window holds all that this convolution reads for its tile"
        what = (
            f"windows of {before.size} at {before.offset} every {before.stride} and tiles of "
            f"{after.size} at {after.offset} every {after.stride}"
        )
        raise ValueError(expected("conv", "blocks.geometry", wording, what))
    return lead
