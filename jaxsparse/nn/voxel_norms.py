"""Layer and instance normalisation, over voxels and dense arrays alike."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import voxel
from jaxsparse._core.checks import expected
from jaxsparse._core.entries import wide_dtype
from jaxsparse.nn.batch_norm import cast
from jaxsparse.voxel.tensor import check_tensor


class LayerNorm(nnx.LayerNorm):
    """``flax.nnx.LayerNorm`` that also takes a ``VoxelTensor``: every site over its channels, the background likewise.

    Constructor and parameters are those of ``nnx.LayerNorm``; arrays are handed on to it. For a ``VoxelTensor`` see
    :func:`jaxsparse.voxel.layer_norm`: ``reduction_axes`` and ``feature_axes`` must be -1, the variance takes two passes
    whatever ``use_fast_variance`` says, and ``promote_dtype`` and ``axis_name`` have no effect.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0, 5.0], [0.0, 0.0]]]), capacity=1)
      >>> nn.LayerNorm(2, rngs=nnx.Rngs(0))(x).features.round(3).tolist()
      [[-1.0, 1.0]]
    """

    def __call__(self, x: Any, *, mask: jax.Array | None = None) -> Any:
        """Normalises ``x``.

        Args:
          x: ``VoxelTensor`` of ``num_features`` channels, or an array as ``nnx.LayerNorm`` takes it.
          mask: for arrays only.

        Returns:
          The same kind as ``x``.

        Raises:
          ValueError: a ``VoxelTensor`` has other channels, or came with ``mask`` or other axes.
        """
        if not isinstance(x, voxel.VoxelTensor):
            return super().__call__(x, mask=mask)
        x, scale, bias = _operands(self, x, mask, ("reduction_axes", "feature_axes"))
        return voxel.layer_norm(x, scale, bias, epsilon=self.epsilon)


class InstanceNorm(nnx.InstanceNorm):
    """``flax.nnx.InstanceNorm`` that also takes a ``VoxelTensor``: every channel over the active sites of a batch element.

    Constructor and parameters are those of ``nnx.InstanceNorm``; arrays are handed on to it. For a ``VoxelTensor``, which must
    have no background, see :func:`jaxsparse.voxel.instance_norm`: ``feature_axes`` must be -1, the variance takes two passes
    whatever ``use_fast_variance`` says, and ``promote_dtype`` and ``axis_name`` have no effect.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]), capacity=2)
      >>> nn.InstanceNorm(1, rngs=nnx.Rngs(0))(x).features.round(3).tolist()
      [[-1.0], [1.0]]
    """

    def __call__(self, x: Any, *, mask: jax.Array | None = None) -> Any:
        """Normalises ``x``.

        Args:
          x: ``VoxelTensor`` of ``num_features`` channels, or an array as ``nnx.InstanceNorm`` takes it.
          mask: for arrays only.

        Returns:
          The same kind as ``x``.

        Raises:
          ValueError: a ``VoxelTensor`` has other channels or a background, or came with ``mask`` or other axes.
        """
        if not isinstance(x, voxel.VoxelTensor):
            return super().__call__(x, mask=mask)
        x, scale, bias = _operands(self, x, mask, ("feature_axes",))
        return voxel.instance_norm(x, scale, bias, epsilon=self.epsilon)


def _operands(layer: Any, x: voxel.VoxelTensor, mask: Any, axes: tuple[str, ...]) -> Any:
    """``x`` in the layer's dtype, scale and bias in the accumulator's."""
    name = type(layer).__name__
    check_tensor(name, "x", x)
    if mask is not None:
        raise ValueError(expected(name, "mask", "None for this VoxelTensor", type(mask).__name__))
    if x.channels != layer.num_features:
        wording = f"of {layer.num_features} channels"
        raise ValueError(expected(name, "x", wording, x.channels))
    for axis in axes:
        value = getattr(layer, axis)
        if value not in (-1, (-1,)):
            raise ValueError(expected(name, axis, "-1 for this VoxelTensor", value))
    numbers = [None if v is None else v[...] for v in (layer.scale, layer.bias)]
    dtype = layer.dtype
    if dtype is None:
        dtype = jnp.result_type(x.features, *(v for v in numbers if v is not None))
    scale, bias = (None if v is None else v.astype(wide_dtype(dtype)) for v in numbers)
    return cast(x, dtype), scale, bias
