"""The rectifier."""

from jaxsparse.direct import _kernels
from jaxsparse.direct._sources import choose
from jaxsparse.direct.tensor import SparseTensor, check_tensor


def relu(x: SparseTensor) -> SparseTensor:
    """The positive entries of ``x``; the others are not stored any more.

    NaN of either sign is kept. ``nnz`` counts what is kept. Differentiable in reverse mode, to any order.
    ``conv(..., select="relu")`` does this and the selection in one.

    Args:
      x: ``SparseTensor`` ``[batch, *spatial, channels]``.

    Returns:
      ``SparseTensor`` of the same shape, dtype and capacity.

    Raises:
      TypeError: ``x`` is no ``SparseTensor``.
      ValueError: its arrays do not fit together.

    Source: ILA-SCNN has it only inside its convolution ("K-RELU").

    Example::

      >>> import jax.numpy as jnp
      >>> from jaxsparse import direct

      >>> x = direct.SparseTensor.from_dense(jnp.array([[[-1.0], [0.0], [2.0]]]), capacity=3)
      >>> y = direct.relu(x)
      >>> y.values.tolist(), y.nnz.tolist()
      ([[[2.0, 0.0, 0.0]]], [[1]])
    """
    check_tensor("relu", "x", x)
    keys, values, nnz = choose(_kernels.relu, x.volume, x.keys, x.values)
    return SparseTensor(keys, values, nnz, x.spatial_shape)
