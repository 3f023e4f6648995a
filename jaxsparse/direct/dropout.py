"""Dropout."""

import jax
import numpy as np

from jaxsparse._core import checks
from jaxsparse.direct._scaling import masked_scale
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def dropout(x: SparseTensor, rate: float, key: jax.Array) -> SparseTensor:
    """Sets each stored value to 0 with probability ``rate`` and multiplies the others by ``1 / (1 - rate)``.

    Keys and ``nnz`` are those of ``x``: a dropped entry stays stored and holds 0, so it still pools and counts. The
    slots are drawn one by one, for all batch elements and channels. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      rate: the share that is dropped, a number from 0 to 1, known at trace time.
      key: a key of ``jax.random``.

    Returns:
      ``SparseTensor`` of the same shape, dtype and capacity.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``, ``rate`` is no number or traced, ``key`` is no key of ``jax.random``.
      ValueError: the arrays of ``x`` do not fit together, ``rate`` is not from 0 to 1, or ``key`` is not a single key.

    Source: ``flax.nnx.Dropout``, on the stored entries.

    Example::

      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.ones((1, 100, 1)))
      >>> y = direct.dropout(x, 0.5, jax.random.key(0))
      >>> sorted(set(y.values.ravel().tolist())), y.nnz.tolist()
      ([0.0, 2.0], [[100]])
    """
    check_tensor("dropout", "x", x)
    rate = checks.number("dropout", "rate", rate, low=0.0, high=1.0)
    key = checks.random_key("dropout", "key", key)
    if rate == 0.0:
        return x
    # The probability as float32: 64-bit mode draws no other entries.
    kept = jax.random.bernoulli(key, np.float32(1.0 - rate), x.values.shape)
    factors = (1.0 / (1.0 - rate) if rate < 1.0 else 0.0, 0.0)
    return x.replace(values=masked_scale(x.volume, factors, x.keys, x.values, kept))
