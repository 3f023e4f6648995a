"""Batch normalisation over active sites."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel import _affine, _pooling
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


class BatchStatistics(NamedTuple):
    """Of each channel, over the active sites of the whole batch: float32 (float64 for float64).

    Attributes:
      mean: ``[channels]``, 0 where there is no site.
      var: ``[channels]``, the biased variance, 0 where there is no site.
      sites: ``[]``, how many there are.
    """

    mean: jax.Array
    var: jax.Array
    sites: jax.Array


def batch_statistics(
    x: VoxelTensor, *, axis_name: Any = None, axis_index_groups: Any = None
) -> BatchStatistics:
    """Mean and biased variance of each channel over the active sites of the whole batch.

    The background takes no part. The variance is taken around the mean, in a second pass. Sums are in float64, in an order
    that does not depend on the number of threads. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor`.
      axis_name: mesh axis (or axes) inside ``shard_map`` over whose devices the batch is spread. None: the statistics of
        what is here.
      axis_index_groups: groups of devices along ``axis_name``, as in ``jax.lax.psum``.

    Returns:
      :class:`BatchStatistics`.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``.
      ValueError: its arrays do not fit together, or ``axis_index_groups`` came without ``axis_name``.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]))
      >>> [float(v.ravel()[0]) for v in voxel.batch_statistics(x)]
      [3.0, 4.0, 2.0]
    """
    check_tensor("batch_statistics", "x", x)
    if axis_index_groups is not None and axis_name is None:
        what = repr(axis_index_groups)
        raise ValueError(
            expected("batch_statistics", "axis_index_groups", "None without axis_name", what)
        )
    dtype = wide_dtype(x.dtype)
    used = x.in_use()
    one = (~used).astype(jnp.int32)

    def over_devices(tree):
        if axis_name is None:
            return tree
        return jax.lax.psum(tree, axis_name, axis_index_groups=axis_index_groups)

    features = x.features.astype(dtype)
    here = jnp.sum(used, dtype=jnp.int32).astype(dtype), _pooling.batch_total(features, one, 1)[0]
    sites, total = over_devices(here)
    divisor = jnp.maximum(sites, jnp.ones_like(sites))
    mean = total / divisor
    apart = features - mean[None]
    squares = over_devices(_pooling.batch_total(apart * apart, one, 1)[0])
    return BatchStatistics(mean, squares / divisor, sites)


def batch_norm(
    x: VoxelTensor,
    scale: jax.typing.ArrayLike | None = None,
    bias: jax.typing.ArrayLike | None = None,
    *,
    mean: jax.typing.ArrayLike | None = None,
    var: jax.typing.ArrayLike | None = None,
    epsilon: float = 1e-5,
    axis_name: Any = None,
) -> VoxelTensor:
    """``(feature - mean) / sqrt(var + epsilon) * scale + bias`` for every active site, with numbers of its channel.

    The background goes through the same affine map, so that with a ground state the whole tensor equals the dense one with
    these statistics. Computed in float32 (float64), rounded to the dtype of ``x`` last. Gradients flow through the
    statistics. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor`.
      scale: ``[channels]``, of the dtype of ``x`` or of its accumulator, float32 (float64); None: 1.
      bias: likewise; None: 0.
      mean: likewise: normalise by this mean; together with ``var``. None: by the statistics of ``x``, see
        :func:`batch_statistics`.
      var: likewise.
      epsilon: what is added to the variance, a number >= 0.
      axis_name: as in :func:`batch_statistics`; has no effect where ``mean`` and ``var`` are given.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, or a dtype is wrong.
      ValueError: a shape is wrong, only one of ``mean`` and ``var`` is given, or ``epsilon`` is negative.

    Source: batch normalisation (Ioffe and Szegedy) over active sites, as SparseConvNet's and spconv's.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]))
      >>> voxel.batch_norm(x, bias=jnp.array([7.0]), epsilon=0.0).to_dense().ravel().tolist()
      [6.0, 0.0, 8.0]
    """
    check_tensor("batch_norm", "x", x)
    epsilon = checks.number("batch_norm", "epsilon", epsilon, low=0.0)
    dtype = wide_dtype(x.dtype)
    given = {"scale": scale, "bias": bias, "mean": mean, "var": var}
    numbers = {n: _affine.per_channel("batch_norm", n, v, x) for n, v in given.items()}
    if (mean is None) != (var is None):
        what = "mean" if var is None else "var"
        raise ValueError(expected("batch_norm", "mean and var", "given together", f"only {what}"))
    if mean is None:
        found = batch_statistics(x, axis_name=axis_name)
        numbers |= {"mean": found.mean, "var": found.var}
    factor = jax.lax.rsqrt(numbers["var"] + jnp.asarray(epsilon, dtype))

    def normalised(v: jax.Array) -> jax.Array:
        y = (v.astype(dtype) - numbers["mean"][None]) * factor[None]
        return _affine.scaled(y, numbers["scale"], numbers["bias"]).astype(x.dtype)

    return _affine.of_rows(x, normalised)
