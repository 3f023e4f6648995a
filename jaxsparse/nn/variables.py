"""The two kinds of layer state that are not trained by gradients, and how layers write state."""

import jax
from flax import nnx


def assign(variable: nnx.Variable, value: jax.Array) -> None:
    """Puts a whole array in place of a variable's, in its dtype.

    ``variable[...] = value`` may trace as a scatter through an empty list of indices. Inside ``shard_map`` that list becomes
    an empty array at its border, of which the compiler of jax 0.11 dies.
    """
    variable.set_value(value.astype(variable[...].dtype))


class PruningMask(nnx.Variable):
    """Which weights of a kernel are alive: bool, the kernel's shape, ``True`` = alive.

    Not a ``nnx.Param``: no optimiser sees it. It is state of the layer, saved in its checkpoints.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> int(nn.PruningMask(jnp.ones((3, 3, 1, 8), bool))[...].sum())
    72
    """


class Density(nnx.Variable):
    """The share of voxels that wanted to respond in a layer's last call: float32, ``[out_features]``.

    The mean over the batch of ``nnz / volume``, counted before the capacity cut it: what the density regulariser of
    ILA-SCNN (Eq. 4) watches. It may lie above the layer's bound; what is stored cannot. Inside ``shard_map`` it is the
    mean over the device's own part of the batch.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.Density(jnp.zeros(8))[...].shape
    (8,)
    """
