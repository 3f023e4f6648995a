"""The sum of two tensors."""

from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse._core.derivatives import custom_vjp
from jaxsparse.direct import _kernels
from jaxsparse.direct._sources import put_add
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def add(x: SparseTensor, y: SparseTensor, capacity: int | None = None) -> SparseTensor:
    """The sum of two tensors of one shape: an entry wherever either has one.

    Where both have an entry the values are added; a sum that is exactly 0 is an entry. ``nnz`` counts the voxels that
    either stores; what does not fit is cut by magnitude, of equal ones the lower key stays. Differentiable in reverse
    mode, to any order; what was cut has no gradient.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.
      y: likewise, of the same shape and dtype; the capacity may differ.
      capacity: entries that a (batch element, channel) may store. None: ``x.capacity + y.capacity``, which cannot
        overflow.

    Returns:
      ``SparseTensor`` of the same shape and dtype.

    Raises:
      TypeError: ``x`` or ``y`` is no ``SparseTensor``, their dtypes differ, or ``capacity`` is no integer.
      ValueError: their shapes differ, or ``capacity`` is below 1.

    Source: the residual connection; ILA-SCNN has none.

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[1.0], [0.0], [5.0]]]))
      >>> y = direct.SparseTensor.from_dense(jnp.array([[[2.0], [4.0], [0.0]]]))
      >>> direct.add(x, y).to_dense().ravel().tolist()
      [3.0, 4.0, 5.0]
    """
    check_tensor("add", "x", x)
    check_tensor("add", "y", y)
    if x.shape != y.shape:
        raise ValueError(expected("add", "y", f"of the shape of x, {x.shape}", y.shape))
    checks.same_dtype("add", "y", y, "x", x.dtype)
    bound = x.capacity + y.capacity
    slots = capacities.resolve("add", capacity, None, volume=x.volume, bound=bound)
    static = _kernels.Add(x.volume, slots)
    capacity_of = (x.capacity, y.capacity)
    operands = _kernels.add.align(x.keys, x.values, y.keys, y.values)
    keys, values, nnz, _, _ = _add(static, capacity_of, *operands)
    return SparseTensor(keys, values, nnz, x.spatial_shape)


@custom_vjp(static=2)
def _add(static, capacities, xk, xv, yk, yv):
    return _kernels.add(static, xk, xv, yk, yv)


def _add_fwd(static, capacities, xk, xv, yk, yv):
    results = _add(static, capacities, xk, xv, yk, yv)
    return results, results[3:]


def _add_bwd(static, capacities, sources, cotangents):
    to_x, to_y = (
        put_add(slots, cotangents[1], source)
        for slots, source in zip(capacities, sources, strict=True)
    )
    return None, to_x, None, to_y


_add.defvjp(_add_fwd, _add_bwd)
