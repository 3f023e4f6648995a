"""Convolution that dilates: every site that an active site reaches becomes active."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _convolve, _maps
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def conv(
    x: VoxelTensor,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    capacity: int | None = None,
    onto: VoxelTensor | None = None,
    plan: KernelMap | None = None,
    precision: Any = None,
) -> VoxelTensor:
    """The convolution of ``lax.conv_general_dilated`` at every site that an active site reaches.

    Without a background inactive sites are 0, padding is with 0 and the bias goes to active sites only. With one, padding is
    with the background, too: all of the result, active sites and its new background, equals the dense ``"VALID"``
    convolution of the volume filled and padded with it, plus the bias. Gradients go through the background.
    Differentiable in reverse mode, to any order.

    A number of the result is one sum in float32 (float64 of float64), taps in row-major order and input channels ascending
    within a tap, rounded to the dtype last, for any number of threads.

    Args:
      x: :class:`VoxelTensor`.
      kernel: ``[*window, in / groups, out]`` of the dtype of ``x``, for 1 to 4 spatial dimensions; even windows are fine.
      bias: ``[out]`` of that dtype, or None.
      strides: an integer or one a spatial dimension.
      padding: as in ``lax.conv_general_dilated``: ``"SAME"``, ``"VALID"``, an integer, or integers or (low, high) pairs;
        negative ones crop.
      kernel_dilation: an integer or one a spatial dimension.
      feature_group_count: groups of channels; as many as there are channels: depthwise.
      capacity: rows of the result; None: room for every site that could become active. Of more sites the first in
        canonical order stay, and ``count`` says how many there were.
      onto: a tensor whose sites are those of the result, whether anything reaches them or not; its features play no
        part. None: the sites that are reached.
      plan: the entry of a :func:`plan` for this call; None: the map is built here.
      precision: as in ``lax.conv_general_dilated``. The kernels have no TF32: float32 is always float32.

    Returns:
      :class:`VoxelTensor` of the dtype of ``x`` in the output's spatial shape.

    Raises:
      ValueError: shapes, sizes or a plan that do not fit.
      TypeError: dtypes that differ or are not floating point; ``x`` is no ``VoxelTensor``.

    Source: SparseConvNet (Graham, 2014) for the dilating convolution and its ground state; MinkowskiEngine (Choy et al.,
    2019) for given target sites.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 2]], [[5.0]], batch_size=1, spatial_shape=(6,))
      >>> y = voxel.conv(x, jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1))
      >>> y.coords[:, 1].tolist(), y.features.ravel().tolist()
      ([1, 2, 3], [500.0, 50.0, 5.0])
    """
    w = _convolve.weights("conv", x, kernel, bias, feature_group_count, precision)
    if onto is not None:
        check_tensor("conv", "onto", onto)
    kernel_map = _maps.conv_map(
        "conv", x, w.kernel_size, strides, padding, kernel_dilation, capacity, onto=onto, plan=plan
    )
    return _convolve.convolve(x, w, kernel_map)
