"""The kernel maps of a network, from its layers."""

from collections.abc import Sequence
from typing import Any

from jaxsparse import voxel
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.nn.voxel_conv import VoxelConv, VoxelKernel, VoxelSubmanifoldConv
from jaxsparse.nn.voxel_conv_transpose import VoxelConvTranspose, VoxelInverseConv
from jaxsparse.nn.voxel_geometry import out_shape, planned, rows_of
from jaxsparse.nn.voxel_pool import VoxelMaxPool
from jaxsparse.voxel.tensor import check_tensor


def voxel_plan(x: voxel.VoxelTensor, layers: Sequence[Any]) -> tuple[voxel.KernelMap, ...]:
    """:func:`jaxsparse.voxel.plan` of layers: every kernel map of a network, built once.

    Layer i works on the sites that layer i - 1 leaves; a :class:`VoxelInverseConv` leads back to where the last convolution
    or pooling began that is not undone yet. Capacities are those of the layers, densities turned into rows.

    Args:
      x: the network's input, a ``VoxelTensor``.
      layers: :class:`VoxelConv`, :class:`VoxelSubmanifoldConv`, :class:`VoxelConvTranspose`, :class:`VoxelInverseConv` and
        :class:`VoxelMaxPool` in the order of the calls; one that is called twice stands there twice.

    Returns:
      A ``KernelMap`` for each layer, for its ``plan=``.

    Raises:
      ValueError: geometries that do not fit each other.
      TypeError: ``x`` is no ``VoxelTensor``, or something else than these layers.

    Example::

      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 3]], [[1.0]], batch_size=1, spatial_shape=(4,))
      >>> layers = [
      ...     nn.VoxelConv(1, 8, (2,), 2, density=0.5, rngs=nnx.Rngs(0)),
      ...     nn.VoxelInverseConv(8, 4, (2,), 2, rngs=nnx.Rngs(0)),
      ... ]
      >>> [kernel_map.coords.shape for kernel_map in nn.voxel_plan(x, layers)]
      [(1, 2), (1, 2)]
    """
    check_tensor("voxel_plan", "x", x)
    if not checks.is_sequence(layers) or isinstance(layers, str | bytes):
        what = type(layers).__name__
        raise TypeError(expected("voxel_plan", "layers", "a sequence of layers", what))
    shape, passed, found = x.spatial_shape, [], []
    for i, layer in enumerate(layers):
        capacity = None
        if isinstance(layer, VoxelInverseConv):
            if not passed:
                wording = "behind a convolution or pooling that it can undo"
                raise ValueError(
                    expected("voxel_plan", f"layers[{i}]", wording, "no level to go back to")
                )
            shape = passed.pop()
        elif isinstance(layer, VoxelConv | VoxelConvTranspose | VoxelMaxPool):
            capacity = rows_of(layer, x.batch_size, shape)
            if not isinstance(layer, VoxelConvTranspose):
                passed.append(shape)
            shape = out_shape(layer, shape)
        elif not isinstance(layer, VoxelSubmanifoldConv):
            wording = "a convolution or pooling of voxels"
            what = type(layer).__name__
            raise TypeError(expected("voxel_plan", f"layers[{i}]", wording, what))
        found.append(planned(layer, capacity))
    return voxel.plan(x, found)


def is_voxel_layer(node: Any) -> bool:
    """Whether a module is one of these layers."""
    return isinstance(node, VoxelKernel | VoxelMaxPool)
