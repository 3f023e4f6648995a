"""Maximum pooling."""

from collections.abc import Sequence

from jaxsparse._core import capacity as capacities
from jaxsparse._core import windows
from jaxsparse.direct import _kernels
from jaxsparse.direct._sources import choose
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def max_pool(
    x: SparseTensor,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    *,
    capacity: int | None = None,
) -> SparseTensor:
    """The maximum over the *stored* entries of each window.

    Windows start at multiples of the stride and are cut at the end: ``ceil(size / stride)`` outputs a dimension, no
    padding in front. A voxel that is not stored takes no part, so a window with negative entries only has a negative
    maximum; after a ReLU the result is the dense one. NaN is a maximum. The gradient goes to the maximum, among equal
    ones to the lowest key. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      window: an integer >= 1, or one a spatial dimension; may be as large as the input or larger. Windows that overlap
        (a stride is smaller) have at most 2^24 voxels.
      strides: likewise; None: the window.
      capacity: entries that a (batch element, channel) may store; the largest values are kept, of equal ones the lower
        key. None: the capacity of ``x``, which cannot overflow unless windows overlap.

    Returns:
      ``SparseTensor`` ``[batch, *ceil(spatial / strides), channels]``.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``, or an argument is no integer.
      ValueError: ``window``, ``strides`` or ``capacity`` is below 1 or has the wrong length; windows overlap and have
        more than 2^24 voxels, or strides of a product above 2^20.

    Source: ILA-SCNN, without its maximum with 0.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [3.0], [0.0], [0.0], [-2.0]]]))
      >>> direct.max_pool(x, 2).to_dense().ravel().tolist()
      [3.0, 0.0, -2.0]
    """
    check_tensor("max_pool", "x", x)
    geometry = windows.pooling("max_pool", x.spatial_shape, window, strides)
    slots = capacities.resolve(
        "max_pool",
        capacity,
        None,
        volume=geometry.out_volume,
        bound=x.capacity,
    )
    keys, values, nnz = choose(_kernels.max_pool, _kernels.Pool(geometry, slots), x.keys, x.values)
    return SparseTensor(keys, values, nnz, geometry.out_shape)
