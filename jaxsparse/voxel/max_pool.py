"""Maximum pooling."""

from collections.abc import Sequence

from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _maps, _pooling
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def max_pool(
    x: VoxelTensor,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = "VALID",
    capacity: int | None = None,
    plan: KernelMap | None = None,
) -> VoxelTensor:
    """The maximum of each window that holds an active site; windows may overlap.

    With a ground state inactive sites take part with the background's value (and padding is padding with the background),
    so that the whole tensor equals the dense pooling; the background stays. Without one only active sites do: a window
    with negative numbers only has a negative maximum. NaN is a maximum. The gradient goes to the maximum, among equal ones
    to the first of the window, the background included. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor` ``[batch, *spatial, channels]``.
      window: an integer >= 1, or one a spatial dimension.
      strides: likewise; None: the window.
      padding: ``"VALID"``, ``"SAME"``, an integer, or for each dimension an integer or a ``(low, high)`` pair, as in
        ``lax.reduce_window``.
      capacity: rows of the output; of too many sites the first in canonical order stay. None: room for every site that
        could become active.
      plan: this call's entry of a :func:`voxel.plan`.

    Returns:
      :class:`VoxelTensor` ``[batch, *pooled, channels]``.

    Raises:
      ValueError: a window, stride, padding or capacity that is no good, or a plan for something else.
      TypeError: ``x`` is no ``VoxelTensor``, or an argument is no integer.

    Source: SparseConvNet's and S3DCNN's max pooling with the ground state (Graham, 2014; Notchenko et al., 2016).

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1], [0, 4]], [[1.0], [3.0], [-2.0]], batch_size=1, spatial_shape=(7,)
      ... )
      >>> voxel.max_pool(x, 3, 2).to_dense().ravel().tolist()
      [3.0, -2.0, -2.0]
      >>> import jax.numpy as jnp
      >>> voxel.max_pool(x.replace(background=jnp.zeros(1)), 3, 2).to_dense().ravel().tolist()
      [3.0, 0.0, 0.0]
    """
    check_tensor("max_pool", "x", x)
    kernel_map = _maps.pool_map("max_pool", x, window, strides, padding, capacity, plan=plan)
    return kernel_map.tensor(_pooling.maximum(x.features, x.background, kernel_map), x.background)
