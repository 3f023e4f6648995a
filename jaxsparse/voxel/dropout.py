"""Dropout."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def dropout(
    x: VoxelTensor, rate: float, key: jax.Array, *, by_channel: bool = False
) -> VoxelTensor:
    """Sets each number to 0 with probability ``rate`` and multiplies the others by ``1 / (1 - rate)``.

    Sites stay. The background stays as it is, which is its mean; with ``by_channel`` a channel is dropped at all sites of
    the batch, the background included, so that the whole tensor is the dense one with those channels dropped. Derivatives
    are those of a product.

    Args:
      x: :class:`VoxelTensor`.
      rate: the share that is dropped, a number from 0 to 1, known at trace time.
      key: a key of ``jax.random``.
      by_channel: drop whole channels.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, ``rate`` is no number or traced, ``key`` is no key of ``jax.random``,
        ``by_channel`` is not bool.
      ValueError: ``rate`` is not from 0 to 1, or ``key`` is not a single key.

    Source: ``flax.nnx.Dropout``; by channel: S3DCNN, which scales when testing instead.

    Example::

      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.ones((1, 100, 1)))
      >>> y = voxel.dropout(x, 0.5, jax.random.key(0))
      >>> sorted(set(y.features.ravel().tolist())), int(y.count)
      ([0.0, 2.0], 100)
    """
    check_tensor("dropout", "x", x)
    rate = checks.number("dropout", "rate", rate, low=0.0, high=1.0)
    key = checks.random_key("dropout", "key", key)
    if not isinstance(by_channel, bool):
        what = checks.described(by_channel)
        raise TypeError(expected("dropout", "by_channel", "True or False", what))
    if rate == 0.0:
        return x
    # The probability as float32: 64-bit mode drops nothing else.
    shape = (1, x.channels) if by_channel else x.features.shape
    kept = jax.random.bernoulli(key, np.float32(1.0 - rate), shape)
    dtype = wide_dtype(x.dtype)
    factor = jnp.asarray(1.0 / (1.0 - rate) if rate < 1.0 else 0.0, dtype)

    def dropped(v: jax.Array, mask: jax.Array) -> jax.Array:
        scaled = (v.astype(dtype) * factor).astype(v.dtype)
        return jnp.where(mask, scaled, jnp.zeros_like(v))

    background = x.background
    if by_channel and background is not None:
        background = dropped(background, kept[0])
    return x.replace(features=dropped(x.features, kept), background=background)
