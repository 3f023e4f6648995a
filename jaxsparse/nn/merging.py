"""Sums and concatenation, over sparse containers and dense channels-last arrays alike."""

from collections.abc import Sequence
from typing import cast

import jax.numpy as jnp

from jaxsparse import direct, voxel
from jaxsparse._core import checks
from jaxsparse._core.checks import expected, is_sequence
from jaxsparse.nn.arguments import Activation, no_capacity, same_kind


def add(x: Activation, y: Activation, capacity: int | None = None) -> Activation:
    """The sum of two activations of one shape, as in a residual connection.

    Args:
      x: a ``SparseTensor``, a ``VoxelTensor`` or an array.
      y: the same kind, of the same shape.
      capacity: entries an output channel may store, see :func:`jaxsparse.direct.add`, or rows, see
        :func:`jaxsparse.voxel.add`; enough if left out. Sparse input only.

    Returns:
      The same kind as ``x``.

    Raises:
      TypeError: one is sparse and the other is not.
      ValueError: the shapes differ, or ``capacity`` came with arrays.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.add(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])).tolist()
    [4.0, 6.0]
    """
    same_kind("add", "x", x, "y", y)
    if isinstance(x, direct.SparseTensor):
        return direct.add(x, cast(direct.SparseTensor, y), capacity)
    if isinstance(x, voxel.VoxelTensor):
        return voxel.add(x, cast(voxel.VoxelTensor, y), capacity)
    no_capacity("add", capacity)
    a, b = checks.array("add", "x", x), checks.array("add", "y", y)
    checks.shape("add", "y", b, a.shape, "that of x")
    return a + b


def concat(xs: Sequence[Activation]) -> Activation:
    """The channels of several activations, one's after the other's.

    Args:
      xs: one ``SparseTensor`` or more, one ``VoxelTensor`` or more, or one array ``[batch, *spatial, channels]`` or more.

    Returns:
      The same kind, with the sum of the channels; see :func:`jaxsparse.direct.concat`, :func:`jaxsparse.voxel.concat`.

    Raises:
      TypeError: some are sparse and others are not.
      ValueError: ``xs`` is empty, or anything but the channels differs.

    >>> import jax.numpy as jnp
    >>> from jaxsparse import nn
    >>> nn.concat([jnp.zeros((1, 4, 2)), jnp.ones((1, 4, 3))]).shape
    (1, 4, 5)
    """
    if not is_sequence(xs) or isinstance(xs, (str, bytes)):
        wording = "a sequence of direct.SparseTensor, of voxel.VoxelTensor or of arrays"
        raise TypeError(expected("concat", "xs", wording, type(xs).__name__))
    if not len(xs):
        raise ValueError(expected("concat", "xs", "at least one activation", "none"))
    for i, x in enumerate(xs):
        same_kind("concat", "xs[0]", xs[0], f"xs[{i}]", x)
    if isinstance(xs[0], direct.SparseTensor):
        return cast(Activation, direct.concat(cast(Sequence[direct.SparseTensor], xs)))
    if isinstance(xs[0], voxel.VoxelTensor):
        return cast(Activation, voxel.concat(cast(Sequence[voxel.VoxelTensor], xs)))
    arrays = [checks.array("concat", f"xs[{i}]", x) for i, x in enumerate(xs)]
    for i, x in enumerate(arrays):
        wanted = (*arrays[0].shape[:-1], *x.shape[-1:])
        checks.shape("concat", f"xs[{i}]", x, wanted, "that of xs[0], but for the channels")
    return cast(Activation, jnp.concatenate(arrays, axis=-1))
