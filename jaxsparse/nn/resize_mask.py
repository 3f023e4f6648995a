"""One mask for layers at several resolutions."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxsparse._core import checks, windows
from jaxsparse._core.checks import FLOATS, expected


def resize_mask(mask: jax.typing.ArrayLike, spatial_shape: Sequence[int]) -> jax.Array:
    """A mask at another resolution: a coarse pixel has the largest of its fine ones, a fine one that of its coarse pixel.

    In each dimension sizes must be those of halvings and the like: ``coarse = ceil(fine / factor)`` with a whole factor,
    the last coarse pixel cut at the end, as strided convolutions and pooling with ``"SAME"`` padding leave them.
    Differentiable; equal largest values share the gradient.

    Args:
      mask: bool or float ``[batch, *spatial]``.
      spatial_shape: the wanted sizes.

    Returns:
      ``[batch, *spatial_shape]`` of the dtype of ``mask``.

    Raises:
      ValueError: sizes that are not of this kind.
      TypeError: a mask that is neither bool nor float.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import nn

      >>> mask = jnp.array([[0.0, 0.5, 0.0, 0.0, 1.0]])
      >>> nn.resize_mask(mask, (3,)).tolist()
      [[0.5, 0.0, 1.0]]
      >>> nn.resize_mask(nn.resize_mask(mask, (3,)), (5,)).tolist()
      [[0.5, 0.5, 0.0, 0.0, 1.0]]
    """
    mask = checks.array("resize_mask", "mask", mask)
    if mask.dtype != jnp.bool_ and mask.dtype.name not in FLOATS:
        wording = f"of dtype bool, {', '.join(FLOATS)}"
        raise TypeError(expected("resize_mask", "mask", wording, mask.dtype))
    wanted = windows.spatial_shape("resize_mask", spatial_shape)
    if mask.ndim != len(wanted) + 1 or 0 in mask.shape[1:]:
        wording = f"of shape [batch, *spatial] with {len(wanted)} spatial dimensions"
        raise ValueError(expected("resize_mask", "mask", wording, f"shape {mask.shape}"))
    for axis, (n, m) in enumerate(zip(mask.shape[1:], wanted, strict=True), 1):
        coarse, fine = min(n, m), max(n, m)
        factor = -(-fine // coarse)
        if -(-fine // factor) != coarse:
            wording = f"such that one of {n} and {m} is the other over a whole number, rounded up"
            raise ValueError(expected("resize_mask", f"spatial_shape[{axis - 1}]", wording, m))
        if m > n:
            mask = jax.lax.slice_in_dim(jnp.repeat(mask, factor, axis), 0, m, axis=axis)
        elif factor > 1:
            mask = _coarser(mask, axis, m, factor)
    return mask


def _coarser(mask: jax.Array, axis: int, size: int, factor: int) -> jax.Array:
    pad: list[Any] = [(0, 0)] * mask.ndim
    pad[axis] = (0, size * factor - mask.shape[axis])
    mask = jnp.pad(mask, pad, mode="edge")  # the edge's own pixels once more: the largest stays
    shape = (*mask.shape[:axis], size, factor, *mask.shape[axis + 1 :])
    return jnp.max(mask.reshape(shape), axis + 1)
