"""Layers without parameters, over sparse containers and dense channels-last arrays alike."""

import jax

from jaxsparse import direct, voxel
from jaxsparse._core import checks
from jaxsparse.nn.arguments import Activation


def relu(x: Activation) -> Activation:
    """The rectifier; of a ``SparseTensor`` only positive entries stay stored, of a ``VoxelTensor`` all sites.

    A convolution with ``select="relu"`` does it and the selection in one.

    Args:
      x: a ``SparseTensor``, a ``VoxelTensor`` or a floating point array.

    Returns:
      The same kind as ``x``, of the same shape and capacity.

    Raises:
      TypeError: ``x`` is neither, or not of a floating point type.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.relu(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.relu(x)
    if isinstance(x, voxel.VoxelTensor):
        return voxel.relu(x)
    return jax.nn.relu(checks.float_array("relu", "x", x))


def to_dense(x: direct.SparseTensor | voxel.VoxelTensor | jax.Array) -> jax.Array:
    """The dense channels-last array that ``x`` stands for; an array is returned as it is.

    Args:
      x: a ``SparseTensor``, a ``VoxelTensor`` or a floating point array.

    Raises:
      TypeError: ``x`` is neither, or not of a floating point type.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import direct, nn
    >>> x = direct.SparseTensor.from_dense(jnp.eye(4).reshape(1, 4, 4, 1), capacity=4)
    >>> nn.to_dense(x).shape
    (1, 4, 4, 1)
    """
    if isinstance(x, direct.SparseTensor | voxel.VoxelTensor):
        return x.to_dense()
    return checks.float_array("to_dense", "x", x)
