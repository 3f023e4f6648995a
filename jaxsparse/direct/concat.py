"""Concatenation along the channels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected, is_sequence
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def concat(xs: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of several tensors, one tensor's after the other's.

    Every list stays as it is; ``nnz`` too. Nothing is ever cut. Differentiable.

    Args:
      xs: one ``SparseTensor`` ``[batch, *spatial, channels]`` or more, of one batch size, spatial shape and dtype;
        channels and capacities may differ.

    Returns:
      ``SparseTensor`` ``[batch, *spatial, sum of the channels]`` with the largest of the capacities.

    Raises:
      TypeError: ``xs`` is no sequence of ``SparseTensor``, or dtypes differ.
      ValueError: ``xs`` is empty, or batch sizes or spatial shapes differ.

    Source: ILA-SCNN's concatenation, for any number of tensors.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]), capacity=2)
      >>> direct.concat([x, x])
      SparseTensor(batch=1, spatial_shape=(3,), channels=2, capacity=2, dtype=float32)
    """
    if not is_sequence(xs) or isinstance(xs, (str, bytes)):
        what = type(xs).__name__
        raise TypeError(expected("concat", "xs", "a sequence of direct.SparseTensor", what))
    if not len(xs):
        raise ValueError(expected("concat", "xs", "at least one direct.SparseTensor", "none"))
    for i, x in enumerate(xs):
        check_tensor("concat", f"xs[{i}]", x)
        of_first = "that of xs[0]"
        checks.same_dtype("concat", f"xs[{i}]", x, "xs[0]", xs[0].dtype)
        if x.nnz.shape[0] != xs[0].nnz.shape[0]:
            wording = f"of batch size {xs[0].nnz.shape[0]} ({of_first})"
            raise ValueError(expected("concat", f"xs[{i}]", wording, x.nnz.shape[0]))
        if x.spatial_shape != xs[0].spatial_shape:
            wording = f"of spatial shape {xs[0].spatial_shape} ({of_first})"
            raise ValueError(expected("concat", f"xs[{i}]", wording, x.spatial_shape))
    slots, volume = max(x.capacity for x in xs), xs[0].volume

    def padded(x: jax.Array, value) -> jax.Array:
        widths = ((0, 0), (0, 0), (0, slots - x.shape[-1]))
        return jnp.pad(x, widths, constant_values=value)

    keys = jnp.concatenate([padded(x.keys, volume) for x in xs], axis=1)
    values = jnp.concatenate([padded(x.values, 0) for x in xs], axis=1)
    # An unused slot has no gradient.
    values = jnp.where(keys < volume, values, jnp.zeros((), values.dtype))
    nnz = jnp.concatenate([x.nnz for x in xs], axis=1)
    return SparseTensor(keys, values, nnz, xs[0].spatial_shape)
