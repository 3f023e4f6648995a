"""Convolution that keeps the sites as they are."""

from collections.abc import Sequence
from typing import Any

import jax

from jaxsparse.voxel import _convolve, _maps
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor


def submanifold_conv(
    x: VoxelTensor,
    kernel: jax.typing.ArrayLike,
    bias: jax.typing.ArrayLike | None = None,
    *,
    kernel_dilation: int | Sequence[int] = 1,
    feature_group_count: int = 1,
    plan: KernelMap | None = None,
    precision: Any = None,
) -> VoxelTensor:
    """The convolution with padding ``"SAME"`` at the active sites: no site becomes active or inactive.

    With a background all of it equals the dense convolution at the active sites; inactive sites take the value that a
    window of background alone gives, plus the bias. Otherwise as :func:`conv`, gradients and order of summation, too.

    Args:
      x: :class:`VoxelTensor`.
      kernel: ``[*window, in / groups, out]`` of the dtype of ``x``. An even window lies as ``"SAME"`` lays it, one more
        tap behind the site than before it.
      bias: ``[out]`` of that dtype, or None.
      kernel_dilation: an integer or one a spatial dimension.
      feature_group_count: groups of channels; as many as there are channels: depthwise.
      plan: the entry of a :func:`plan` for this call; None: the map is built here.
      precision: as in ``lax.conv_general_dilated``. The kernels have no TF32: float32 is always float32.

    Returns:
      :class:`VoxelTensor` with the sites of ``x``.

    Raises:
      ValueError: shapes, sizes or a plan that do not fit.
      TypeError: dtypes that differ or are not floating point; ``x`` is no ``VoxelTensor``.

    Source: Submanifold sparse convolutional networks (Graham et al., 2018).

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 2], [0, 3]], [[5.0], [7.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> y = voxel.submanifold_conv(x, jnp.array([1.0, 10.0, 100.0]).reshape(3, 1, 1))
      >>> y.coords[:, 1].tolist(), y.features.ravel().tolist()
      ([2, 3], [750.0, 75.0])
    """
    w = _convolve.weights("submanifold_conv", x, kernel, bias, feature_group_count, precision)
    kernel_map = _maps.submanifold_map(
        "submanifold_conv", x, w.kernel_size, kernel_dilation, plan=plan
    )
    return _convolve.convolve(x, w, kernel_map)
