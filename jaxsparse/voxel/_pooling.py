"""Sums and maxima of rows, differentiably.

A sum's adjoint is the sum over the reverse map. A maximum picks rows, and picking and putting are each other's adjoint.
Reverse mode of any order needs no more.
"""

import jax
import jax.numpy as jnp

from jaxsparse._core import explicit_axes, manual_axes
from jaxsparse._core.derivatives import backward_of, custom_vjp
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel import _kernels, _pool_kernels
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor


def maximum(x: jax.Array, background: jax.Array | None, kernel_map: KernelMap) -> jax.Array:
    """``[N, C]`` to ``[M, C]``: the largest over the taps (NaN is; of equal ones that of the first tap), 0 without any."""
    inputs, outputs = kernel_map.inputs, kernel_map.outputs
    if background is None:
        return _maximum(*_aligned(x, inputs, outputs))[0]
    return _maximum_with(*_aligned(x, background, inputs, outputs))[0]


def total(x: jax.Array, kernel_map: KernelMap) -> jax.Array:
    """``[N, C]`` to ``[M, C]``: the sum over the taps in their order."""
    return _total(*_aligned(x, kernel_map.inputs, kernel_map.outputs))


def taps(kernel_map: KernelMap) -> jax.Array:
    """int32 ``[M, 1]``: how many taps have a row; 0 for outputs that are not in use."""
    inputs = kernel_map.inputs
    here = (inputs >= 0) & (inputs < kernel_map.in_capacity)
    return jnp.sum(here, axis=0, dtype=jnp.int32)[:, None]


def moved(x: jax.Array, source: jax.Array, place: jax.Array) -> jax.Array:
    """``[N, C]`` to ``[M, C]``: row ``source[m]``, 0 where there is none; ``place`` ``[N]`` says where each row goes."""
    return _total(*_aligned(x, source[None], place[None]))


# ---- Batch elements --------------------------------------------------------------------------------------------------


def batch_of(x: VoxelTensor) -> jax.Array:
    """int32 ``[N]``: the batch element of each row, ``batch_size`` where a row is not in use."""
    return jnp.where(x.in_use(), x.coords[:, 0], jnp.int32(x.batch_size))


def batch_total(features: jax.Array, batch: jax.Array, batch_size: int) -> jax.Array:
    """``[N, C]`` to ``[B, C]``, in the accumulator's type: sums in float64 whose order depends on the numbers of rows alone."""
    features = features.astype(wide_dtype(features.dtype))
    return _segment_sum(batch_size, *_aligned(features, batch))


def batch_maximum(features: jax.Array, batch: jax.Array, batch_size: int) -> jax.Array:
    """``[N, C]`` to ``[B, C]``: the largest (NaN is; of equal ones the first), 0 without any."""
    return _segment_max(batch_size, *_aligned(features, batch))[0]


def of_batch(values: jax.Array, batch: jax.Array) -> jax.Array:
    """``[B, C]`` to ``[N, C]``: what each row's batch element has, 0 for rows that are not in use."""
    return _spread(values.shape[0], *_aligned(values, batch))


def _aligned(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Lists have no batch axis to share out. Outside of the derivatives, as ``Kernel.align``."""
    return explicit_axes.replicate(*manual_axes.unify(*arrays))


# ---- Derivatives -----------------------------------------------------------------------------------------------------


# Maxima come with their sources, so that the forward pass of one is itself something that can be differentiated.


@custom_vjp(static=0)
def _maximum(x, inputs, outputs):
    return _pool_kernels.pool_max(None, x, inputs, None)


def _maximum_fwd(x, inputs, outputs):
    y, source = _maximum(x, inputs, outputs)
    return (y, source), (source, outputs)


def _maximum_bwd(residuals, cotangents):
    return _put(cotangents[0], *residuals), None, None


_maximum.defvjp(_maximum_fwd, _maximum_bwd)


@custom_vjp(static=0)
def _maximum_with(x, background, inputs, outputs):
    return _pool_kernels.pool_max(None, x, inputs, background)


def _maximum_with_fwd(x, background, inputs, outputs):
    y, source = _maximum_with(x, background, inputs, outputs)
    return (y, source), (source, outputs)


def _maximum_with_bwd(residuals, cotangents):
    source, outputs = residuals
    cotangent = cotangents[0]
    still = source == outputs.shape[1]
    ours = jnp.where(still, cotangent, jnp.zeros_like(cotangent))
    one = jnp.zeros(cotangent.shape[:1], jnp.int32)
    (ground,) = batch_total(ours, one, 1).astype(cotangent.dtype)
    return _put(cotangent, source, outputs), ground, None, None


_maximum_with.defvjp(_maximum_with_fwd, _maximum_with_bwd)


@custom_vjp(static=0)
def _put(y, source, reverse):
    (x,) = _pool_kernels.pool_put(None, y, source, reverse)
    return x


@backward_of(_put)
def _put_bwd(source, reverse, cotangent):
    return _pick(cotangent, source, reverse), None, None


@custom_vjp(static=0)
def _pick(x, source, reverse):
    (y,) = _kernels.pick_rows(None, x, source)
    return y


@backward_of(_pick)
def _pick_bwd(source, reverse, cotangent):
    return _put(cotangent, source, reverse), None, None


@custom_vjp(static=0)
def _total(x, inputs, outputs):
    (y,) = _pool_kernels.pool_sum(None, x, inputs)
    return y


@backward_of(_total)
def _total_bwd(inputs, outputs, cotangent):
    return _total(cotangent, outputs, inputs), None, None


@custom_vjp(static=1)
def _segment_sum(segments, x, segment):
    (y,) = _pool_kernels.segment_sum(segments, x, segment)
    return y


@backward_of(_segment_sum)
def _segment_sum_bwd(segments, segment, cotangent):
    return _spread(segments, cotangent, segment), None


@custom_vjp(static=1)
def _spread(segments, values, segment):
    (x,) = _pool_kernels.pool_sum(None, values, segment[None])
    return x


@backward_of(_spread)
def _spread_bwd(segments, segment, cotangent):
    return _segment_sum(segments, cotangent, segment), None


@custom_vjp(static=1)
def _segment_max(segments, x, segment):
    return _pool_kernels.segment_max(segments, x, segment)


def _segment_max_fwd(segments, x, segment):
    y, source = _segment_max(segments, x, segment)
    return (y, source), (source, segment)


def _segment_max_bwd(segments, residuals, cotangents):
    source, segment = residuals
    return _put(cotangents[0], source, segment[None]), None


_segment_max.defvjp(_segment_max_fwd, _segment_max_bwd)
