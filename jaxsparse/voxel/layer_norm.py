"""Layer and instance normalisation."""

import jax
import jax.numpy as jnp

from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.voxel import _affine, _pooling
from jaxsparse.voxel.global_pool import active_sites
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def layer_norm(
    x: VoxelTensor,
    scale: jax.typing.ArrayLike | None = None,
    bias: jax.typing.ArrayLike | None = None,
    *,
    epsilon: float = 1e-6,
) -> VoxelTensor:
    """Every site normalised over its channels; the background likewise, so that with one the whole tensor is the dense result.

    Computed in float32 (float64), rounded to the dtype of ``x`` last. Derivatives are JAX's.

    Args:
      x: :class:`VoxelTensor`.
      scale: ``[channels]``, of the dtype of ``x`` or of its accumulator, float32 (float64); None: 1.
      bias: likewise; None: 0.
      epsilon: what is added to the variance, a number >= 0.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, or a dtype is wrong.
      ValueError: a shape is wrong, or ``epsilon`` is negative.

    Source: layer normalisation (Ba, Kiros and Hinton), as ``flax.nnx.LayerNorm``.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0, 5.0], [0.0, 0.0]]]), capacity=1)
      >>> voxel.layer_norm(x, epsilon=0.0).features.tolist()
      [[-1.0, 1.0]]
    """
    check_tensor("layer_norm", "x", x)
    epsilon = checks.number("layer_norm", "epsilon", epsilon, low=0.0)
    dtype = wide_dtype(x.dtype)
    factor = _affine.per_channel("layer_norm", "scale", scale, x)
    shift = _affine.per_channel("layer_norm", "bias", bias, x)

    def normalised(v: jax.Array) -> jax.Array:
        v = v.astype(dtype)
        apart = v - jnp.mean(v, axis=-1, keepdims=True)
        var = jnp.mean(apart * apart, axis=-1, keepdims=True)
        y = apart * jax.lax.rsqrt(var + jnp.asarray(epsilon, dtype))
        return _affine.scaled(y, factor, shift).astype(x.dtype)

    return _affine.of_rows(x, normalised)


def instance_norm(
    x: VoxelTensor,
    scale: jax.typing.ArrayLike | None = None,
    bias: jax.typing.ArrayLike | None = None,
    *,
    epsilon: float = 1e-5,
) -> VoxelTensor:
    """Every channel normalised over the active sites of its batch element.

    Each batch element has its own affine map, so there is no single background, and ``x`` must have none. Sums are in
    float64 in a fixed order, the rest in float32 (float64), rounded to the dtype of ``x`` last. Differentiable in reverse
    mode, to any order.

    Args:
      x: :class:`VoxelTensor` without background.
      scale: ``[channels]``, of the dtype of ``x`` or of its accumulator, float32 (float64); None: 1.
      bias: likewise; None: 0.
      epsilon: what is added to the variance, a number >= 0.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      TypeError: ``x`` is no ``VoxelTensor``, or a dtype is wrong.
      ValueError: ``x`` has a background, a shape is wrong, or ``epsilon`` is negative.

    Source: instance normalisation (Ulyanov, Vedaldi and Lempitsky), as MinkowskiEngine's.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]], [[0.0], [2.0], [0.0]]]))
      >>> voxel.instance_norm(x, epsilon=12.0).to_dense()[..., 0].tolist()
      [[-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]]
    """
    check_tensor("instance_norm", "x", x)
    epsilon = checks.number("instance_norm", "epsilon", epsilon, low=0.0)
    if x.background is not None:
        wording = "without background (x.without_background() drops it)"
        raise ValueError(expected("instance_norm", "x", wording, "one with background"))
    dtype = wide_dtype(x.dtype)
    factor = _affine.per_channel("instance_norm", "scale", scale, x)
    shift = _affine.per_channel("instance_norm", "bias", bias, x)
    batch = _pooling.batch_of(x)
    sites = jnp.maximum(active_sites(batch, x.batch_size), 1).astype(dtype)
    features = x.features.astype(dtype)

    mean = _pooling.batch_total(features, batch, x.batch_size) / sites
    apart = features - _pooling.of_batch(mean, batch)
    var = _pooling.batch_total(apart * apart, batch, x.batch_size) / sites
    narrow = jax.lax.rsqrt(var + jnp.asarray(epsilon, dtype))
    y = apart * _pooling.of_batch(narrow, batch)
    y = _affine.scaled(y, factor, shift).astype(x.dtype)
    return x.replace(features=jnp.where(x.in_use()[:, None], y, jnp.zeros_like(y)))
