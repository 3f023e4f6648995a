"""Convolution back onto a level that a strided one came from."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _convolve, _maps
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def inverse_conv(
    x: VoxelTensor,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    onto: VoxelTensor,
    strides: int | Sequence[int],
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    plan: KernelMap | None = None,
    precision: Any = None,
) -> VoxelTensor:
    """From the result of a convolution back onto the sites of its input: the adjoint placement.

    Site by site it reads a :func:`conv` of the same window, strides and padding backwards: where that one takes input i at
    tap k for output o, this one takes o at tap k for i. So tap k is the same tap in both (``lax.conv_transpose`` has its
    taps in reverse order), and with ``kernel`` transposed in its channels it is the gradient of that convolution.
    Differentiable in reverse mode, to any order; sums are in the order that :func:`conv` says.

    Args:
      x: :class:`VoxelTensor` without a background.
      kernel: ``[*window, in / groups, out]`` of the dtype of ``x``.
      bias: ``[out]`` of that dtype, or None; for every site of ``onto``.
      onto: the tensor whose sites the result has; its features and background play no part.
      strides: those of the convolution that led from ``onto`` to ``x``.
      padding: its padding.
      kernel_dilation: its dilation.
      feature_group_count: groups of channels.
      plan: the entry of a :func:`plan` for this call; None: the map is built here.
      precision: as in ``lax.conv_general_dilated``. The kernels have no TF32: float32 is always float32.

    Returns:
      :class:`VoxelTensor` with the sites of ``onto`` and no background.

    Raises:
      ValueError: shapes, sizes or a plan that do not fit; ``x`` has a background.
      TypeError: dtypes that differ or are not floating point; ``x`` or ``onto`` is no ``VoxelTensor``.

    Source: SparseConvNet's deconvolution (Graham et al., 2018); ``SparseInverseConv`` of spconv.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> fine = voxel.VoxelTensor.from_coords(
      ...     [[0, 2], [0, 3]], [[1.0], [1.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> coarse = voxel.conv(fine, jnp.ones((2, 1, 1)), strides=2)
      >>> y = voxel.inverse_conv(
      ...     coarse, jnp.array([1.0, 10.0]).reshape(2, 1, 1), onto=fine, strides=2
      ... )
      >>> y.coords[:, 1].tolist(), y.features.ravel().tolist()
      ([2, 3], [2.0, 20.0])
    """
    w = _convolve.weights("inverse_conv", x, kernel, bias, feature_group_count, precision)
    _convolve.refuse_background("inverse_conv", "x", x)
    check_tensor("inverse_conv", "onto", onto)
    kernel_map = _maps.onto_map(
        "inverse_conv", x, onto, w.kernel_size, strides, padding, kernel_dilation, plan=plan
    )
    return _convolve.convolve(x, w, kernel_map)
