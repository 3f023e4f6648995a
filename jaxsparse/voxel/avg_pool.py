"""Average and sum pooling."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxsparse._core.entries import wide_dtype
from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _maps, _pooling
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def avg_pool(
    x: VoxelTensor,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = "VALID",
    capacity: int | None = None,
    plan: KernelMap | None = None,
) -> VoxelTensor:
    """The mean of each window that holds an active site; windows may overlap.

    With a ground state it is the mean of the whole window, inactive sites and padding counting with the background's
    value, so that the whole tensor equals the dense pooling; the background stays. Without one it is the mean of the active
    sites. Summed in float32 (float64) in the order of the window and rounded last. Differentiable in reverse mode, to any
    order.

    Args:
      x: :class:`VoxelTensor` ``[batch, *spatial, channels]``.
      window: an integer >= 1, or one a spatial dimension.
      strides: likewise; None: the window.
      padding: as in :func:`max_pool`.
      capacity: rows of the output; of too many sites the first in canonical order stay. None: room for every site that
        could become active.
      plan: this call's entry of a :func:`voxel.plan`.

    Returns:
      :class:`VoxelTensor` ``[batch, *pooled, channels]``.

    Raises:
      ValueError: a window, stride, padding or capacity that is no good, or a plan for something else.
      TypeError: ``x`` is no ``VoxelTensor``, or an argument is no integer.

    Source: SparseConvNet divides by the volume of the window, spconv by the active sites.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1], [0, 4]], [[1.0], [3.0], [-2.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> voxel.avg_pool(x, 2).to_dense().ravel().tolist()
      [2.0, 0.0, -2.0]
      >>> voxel.avg_pool(x.replace(background=jnp.ones(1)), 2).to_dense().ravel().tolist()
      [2.0, 1.0, -0.5]
    """
    total, used, kernel_map = _sums("avg_pool", x, window, strides, padding, capacity, plan)
    if x.background is None:
        mean = total / jnp.maximum(used, 1).astype(total.dtype)
    else:
        mean = total / jnp.asarray(kernel_map.taps, total.dtype)
    return kernel_map.tensor(mean.astype(x.dtype), x.background)


def sum_pool(
    x: VoxelTensor,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = "VALID",
    capacity: int | None = None,
    plan: KernelMap | None = None,
) -> VoxelTensor:
    """The sum of each window that holds an active site; windows may overlap.

    With a ground state inactive sites and padding count with the background's value, so that the whole tensor equals the
    dense sums; the new background is the window's size times the old one. Summed in float32 (float64) in the order of the
    window and rounded last. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor` ``[batch, *spatial, channels]``.
      window: an integer >= 1, or one a spatial dimension.
      strides: likewise; None: the window.
      padding: as in :func:`max_pool`.
      capacity: rows of the output; of too many sites the first in canonical order stay. None: room for every site that
        could become active.
      plan: this call's entry of a :func:`voxel.plan`.

    Returns:
      :class:`VoxelTensor` ``[batch, *pooled, channels]``.

    Raises:
      ValueError: a window, stride, padding or capacity that is no good, or a plan for something else.
      TypeError: ``x`` is no ``VoxelTensor``, or an argument is no integer.

    Source: MinkowskiEngine's sum pooling.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1], [0, 4]], [[1.0], [3.0], [-2.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> voxel.sum_pool(x, 2).to_dense().ravel().tolist()
      [4.0, 0.0, -2.0]
    """
    total, _, kernel_map = _sums("sum_pool", x, window, strides, padding, capacity, plan)
    background = x.background
    if background is not None:
        wide = background.astype(total.dtype) * jnp.asarray(kernel_map.taps, total.dtype)
        background = wide.astype(x.dtype)
    return kernel_map.tensor(total.astype(x.dtype), background)


def _sums(
    function, x, window, strides, padding, capacity, plan
) -> tuple[jax.Array, jax.Array, KernelMap]:
    """The sums in the accumulator's type, and how many active sites they are of."""
    check_tensor(function, "x", x)
    kernel_map = _maps.pool_map(function, x, window, strides, padding, capacity, plan=plan)
    dtype = wide_dtype(x.dtype)
    total = _pooling.total(x.features.astype(dtype), kernel_map)
    used = _pooling.taps(kernel_map)
    if x.background is not None:
        still = (kernel_map.taps - used).astype(dtype) * x.background.astype(dtype)[None]
        total = jnp.where(used > 0, total + still, jnp.zeros_like(total))
    return total, used, kernel_map
