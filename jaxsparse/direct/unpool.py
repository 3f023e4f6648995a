"""Unpooling: values of a coarse tensor at the entries of a fine one."""

from collections.abc import Sequence

from jaxsparse._core import windows
from jaxsparse._core.checks import expected
from jaxsparse.direct._windows import window_spread
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def unpool(
    x: SparseTensor, onto: SparseTensor, strides: int | Sequence[int] | None = None
) -> SparseTensor:
    """Every entry of ``onto`` gets the value of its nearest parent in ``x``: the voxel ``coordinate // strides``.

    The result has the keys and ``nnz`` of ``onto``; of ``onto``'s values nothing is used. Where the parent is not stored
    the entry holds 0. It undoes the geometry of a pooling with ``window == strides``: ``onto`` is what was pooled. The
    gradient of an entry of ``x`` is the sum over its children. Differentiable in reverse mode, to any order.

    Args:
      x: ``SparseTensor`` ``[batch, *ceil(spatial / strides), channels]``.
      onto: ``SparseTensor`` ``[batch, *spatial, channels]``, of any dtype and capacity.
      strides: an integer >= 1, or one a spatial dimension. None: the smallest that lead from the shape of ``onto`` to
        that of ``x``, ``ceil(spatial / spatial of x)``.

    Returns:
      ``SparseTensor`` ``[batch, *spatial, channels]`` of the dtype of ``x`` and the capacity of ``onto``.

    Raises:
      TypeError: ``x`` or ``onto`` is no ``SparseTensor``, or a stride is no integer.
      ValueError: a stride is below 1 or of the wrong length, or batch, channels or spatial shapes do not fit.

    Source: ILA-SCNN's unpooling by nearest parent.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [3.0], [0.0], [0.0], [-2.0]]]))
      >>> direct.unpool(direct.max_pool(x, 2), x, 2).to_dense().ravel().tolist()
      [3.0, 3.0, 0.0, 0.0, -2.0]
    """
    check_tensor("unpool", "x", x)
    check_tensor("unpool", "onto", onto)
    fine, coarse = onto.spatial_shape, x.spatial_shape
    if len(fine) != len(coarse):
        wording = f"of {len(coarse)} spatial dimensions as x"
        raise ValueError(expected("unpool", "onto", wording, f"spatial shape {fine}"))
    if onto.keys.shape[:2] != x.keys.shape[:2]:
        wording = f"of the batch and channels of x, {x.keys.shape[:2]}"
        raise ValueError(expected("unpool", "onto", wording, onto.keys.shape[:2]))
    geometry = windows.unpooling("unpool", fine, coarse, strides, listed=True)
    return onto.replace(values=window_spread(geometry, onto.keys, x.keys, x.values))
