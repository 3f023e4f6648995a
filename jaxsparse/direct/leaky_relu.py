"""The leaky rectifier."""

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse.direct._scaling import masked_scale
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def leaky_relu(x: SparseTensor, slope: float = 0.01) -> SparseTensor:
    """Negative entries times ``slope``, the others as they are; every entry stays stored.

    Keys and ``nnz`` are those of ``x``. NaN stays NaN. As in ``jax.nn.leaky_relu`` the derivative at 0 is 1. The product
    is rounded once, from the accumulator. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      slope: a finite number, known at trace time. With 0 an entry that is not positive stays stored and holds 0;
        :func:`relu` drops it.

    Returns:
      ``SparseTensor`` of the same shape, dtype and capacity.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``, or ``slope`` is no number or traced.
      ValueError: the arrays of ``x`` do not fit together, or ``slope`` is not finite.

    Source: ``jax.nn.leaky_relu``, on the stored entries.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[-2.0], [0.0], [2.0]]]))
      >>> direct.leaky_relu(x, 0.25).to_dense().ravel().tolist()
      [-0.5, 0.0, 2.0]
    """
    check_tensor("leaky_relu", "x", x)
    slope = checks.number("leaky_relu", "slope", slope)
    values = masked_scale(x.volume, (1.0, slope), x.keys, x.values, _is_not_negative(x.values))
    return x.replace(values=values)


def _is_not_negative(values: jax.Array) -> jax.Array:
    """By bits, because XLA's comparisons on CPU take subnormal numbers for 0; -0 is 0."""
    integer = jnp.dtype(f"int{8 * values.dtype.itemsize}")
    bits = jax.lax.bitcast_convert_type(values, integer)
    return (bits >= 0) | (bits == jnp.iinfo(integer).min) | jnp.isnan(values)
