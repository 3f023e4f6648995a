"""The leaky rectifier, over sparse containers and dense arrays alike."""

import jax

from jaxsparse import direct, voxel
from jaxsparse._core import checks
from jaxsparse.nn.arguments import Activation


def leaky_relu(x: Activation, slope: float = 0.01) -> Activation:
    """Negative values times ``slope``, the others as they are; entries of a ``SparseTensor`` and sites stay stored.

    Args:
      x: a ``SparseTensor``, a ``VoxelTensor`` or a floating point array.
      slope: a number; see :func:`jaxsparse.direct.leaky_relu`.

    Returns:
      The same kind as ``x``, of the same shape and capacity.

    Raises:
      TypeError: ``x`` is not of a floating point type, or ``slope`` is no number or traced.
      ValueError: ``slope`` is not finite.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.leaky_relu(jnp.array([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    if isinstance(x, direct.SparseTensor):
        return direct.leaky_relu(x, slope)
    if isinstance(x, voxel.VoxelTensor):
        return voxel.leaky_relu(x, slope)
    x = checks.float_array("leaky_relu", "x", x)
    return jax.nn.leaky_relu(x, checks.number("leaky_relu", "slope", slope))
