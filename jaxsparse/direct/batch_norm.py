"""Batch normalisation over stored entries."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.direct import _kernels
from jaxsparse.direct._channels import channel_affine, channel_dot
from jaxsparse.direct.tensor import SparseTensor, check_tensor


class BatchStatistics(NamedTuple):
    """Of each channel's stored entries, over the whole batch: ``[channels]``, float32 (float64 for float64).

    Attributes:
      mean: the mean, 0 where there is no entry.
      var: the biased variance, 0 where there is no entry.
      entries: how many there are.
    """

    mean: jax.Array
    var: jax.Array
    entries: jax.Array


def batch_statistics(
    x: SparseTensor, *, axis_name: Any = None, axis_index_groups: Any = None
) -> BatchStatistics:
    """Mean and biased variance of the stored entries of each channel, over the whole batch.

    A voxel that is not stored takes no part; a stored 0 does. The variance is taken around the mean, in a second pass.
    Sums are in float64, in an order that does not depend on the number of threads. Under automatic partitioning the
    whole batch is that of all devices. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      axis_name: mesh axis (or axes) inside ``shard_map`` over whose devices the batch is spread. None: the statistics
        of what is here.
      axis_index_groups: groups of devices along ``axis_name``, as in ``jax.lax.psum``.

    Returns:
      :class:`BatchStatistics`.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``.
      ValueError: its arrays do not fit together, or ``axis_index_groups`` came without ``axis_name``.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]))
      >>> [float(v[0]) for v in direct.batch_statistics(x)]
      [3.0, 4.0, 2.0]
    """
    check_tensor("batch_statistics", "x", x)
    if axis_index_groups is not None and axis_name is None:
        what = repr(axis_index_groups)
        raise ValueError(
            expected("batch_statistics", "axis_index_groups", "None without axis_name", what)
        )
    dtype = wide_dtype(x.dtype)
    values = x.values.astype(dtype)
    static = _kernels.ChannelDot(x.volume, dtype.name)

    def over_devices(tree):
        if axis_name is None:
            return tree
        return jax.lax.psum(tree, axis_name, axis_index_groups=axis_index_groups)

    count, total = over_devices((channel_dot(static, x.keys), channel_dot(static, x.keys, values)))
    divisor = jnp.maximum(count, jnp.ones_like(count))
    mean = total / divisor
    squares = over_devices(channel_dot(static, x.keys, values, mean, values, mean))
    return BatchStatistics(mean, squares / divisor, count)


def batch_norm(
    x: SparseTensor,
    scale: jax.typing.ArrayLike | None = None,
    bias: jax.typing.ArrayLike | None = None,
    *,
    mean: jax.typing.ArrayLike | None = None,
    var: jax.typing.ArrayLike | None = None,
    epsilon: float = 1e-5,
    axis_name: Any = None,
) -> SparseTensor:
    """``(value - mean) / sqrt(var + epsilon) * scale + bias`` for every stored entry, with numbers of its channel.

    Keys and ``nnz`` are those of ``x``: a voxel that is not stored stays so, an entry that becomes 0 stays stored.
    Computed in float32 (float64), rounded to the dtype of ``x`` last. Gradients flow through the statistics.
    Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      scale: ``[channels]``, of the dtype of ``x`` or of its accumulator, float32 (float64); None: 1.
      bias: likewise; None: 0.
      mean: likewise: normalise by this mean; together with ``var``. None: by the statistics of ``x``, see
        :func:`batch_statistics`.
      var: likewise.
      epsilon: what is added to the variance, a number >= 0.
      axis_name: as in :func:`batch_statistics`; has no effect where ``mean`` and ``var`` are given.

    Returns:
      ``SparseTensor`` of the same shape, dtype and capacity.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``, or a dtype is wrong.
      ValueError: a shape is wrong, only one of ``mean`` and ``var`` is given, or ``epsilon`` is negative.

    Source: batch normalisation (Ioffe and Szegedy) over active entries. (ILA-SCNN's code normalises over all channels
    and the unused slots.)

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]))
      >>> direct.batch_norm(x, bias=jnp.array([7.0]), epsilon=0.0).to_dense().ravel().tolist()
      [6.0, 0.0, 8.0]
    """
    check_tensor("batch_norm", "x", x)
    epsilon = checks.number("batch_norm", "epsilon", epsilon, low=0.0)
    dtype = wide_dtype(x.dtype)
    given = {"scale": scale, "bias": bias, "mean": mean, "var": var}
    numbers = {name: _per_channel(name, value, x, dtype) for name, value in given.items()}
    if (mean is None) != (var is None):
        what = "mean" if var is None else "var"
        raise ValueError(expected("batch_norm", "mean and var", "given together", f"only {what}"))
    if mean is None:
        found = batch_statistics(x, axis_name=axis_name)
        numbers |= {"mean": found.mean, "var": found.var}
    factor = jax.lax.rsqrt(numbers["var"] + jnp.asarray(epsilon, dtype))
    if scale is not None:
        factor = factor * numbers["scale"]
    values = x.values.astype(dtype)
    y = channel_affine(x.volume, x.keys, values, numbers["mean"], factor, numbers["bias"])
    return x.replace(values=y.astype(x.dtype))


def _per_channel(name: str, value: Any, x: SparseTensor, dtype: Any) -> Any:
    if value is None:
        return None
    value = checks.array("batch_norm", name, value)
    if value.dtype not in (x.dtype, dtype):
        wording = f"of the dtype of x, {x.dtype}, or of its accumulator, {dtype}"
        raise TypeError(expected("batch_norm", name, wording, value.dtype))
    checks.shape("batch_norm", name, value, (x.channels,), "one a channel")
    return value.astype(dtype)
