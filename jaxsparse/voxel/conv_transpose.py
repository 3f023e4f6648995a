"""Transposed convolution: to a finer grid, at every site that is reached."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _convolve, _maps
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def conv_transpose(
    x: VoxelTensor,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    strides: int | Sequence[int],
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    capacity: int | None = None,
    onto: VoxelTensor | None = None,
    plan: KernelMap | None = None,
    precision: Any = None,
) -> VoxelTensor:
    """``lax.conv_transpose(..., transpose_kernel=False)`` at every site that an active site reaches.

    The kernels of ``nnx.ConvTranspose`` drop in. The bias goes to active sites only. Differentiable in reverse mode, to any
    order; sums are in the order that :func:`conv` says.

    Args:
      x: :class:`VoxelTensor` without a background.
      kernel: ``[*window, in / groups, out]`` of the dtype of ``x``.
      bias: ``[out]`` of that dtype, or None.
      strides: an integer or one a spatial dimension: how much finer the result is.
      padding: as in ``lax.conv_transpose``: ``"SAME"``, ``"VALID"``, or pairs that pad the input with zeros between its
        voxels.
      kernel_dilation: an integer or one a spatial dimension.
      feature_group_count: groups of channels.
      capacity: as of :func:`conv`.
      onto: a tensor whose sites are those of the result; None: the sites that are reached.
      plan: the entry of a :func:`plan` for this call; None: the map is built here.
      precision: as in ``lax.conv_transpose``. The kernels have no TF32: float32 is always float32.

    Returns:
      :class:`VoxelTensor` of the dtype of ``x`` in the output's spatial shape.

    Raises:
      ValueError: shapes, sizes or a plan that do not fit; ``x`` has a background.
      TypeError: dtypes that differ or are not floating point; ``x`` is no ``VoxelTensor``.

    Source: ``lax.conv_transpose``; sites that are generated as in MinkowskiEngine (Choy et al., 2019).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 2]], [[5.0]], batch_size=1, spatial_shape=(3,))
      >>> y = voxel.conv_transpose(x, jnp.array([1.0, 10.0]).reshape(2, 1, 1), strides=2)
      >>> y.spatial_shape, y.coords[:, 1].tolist(), y.features.ravel().tolist()
      ((6,), [4, 5], [50.0, 5.0])
    """
    w = _convolve.weights("conv_transpose", x, kernel, bias, feature_group_count, precision)
    _convolve.refuse_background("conv_transpose", "x", x)
    if onto is not None:
        check_tensor("conv_transpose", "onto", onto)
    kernel_map = _maps.transposed_map(
        "conv_transpose",
        x,
        w.kernel_size,
        strides,
        padding,
        kernel_dilation,
        capacity,
        onto=onto,
        plan=plan,
    )
    return _convolve.convolve(x, w, kernel_map)
