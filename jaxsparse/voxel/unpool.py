"""Unpooling."""

from collections.abc import Sequence

from jaxsparse._core import windows
from jaxsparse._core.checks import expected
from jaxsparse._core.windows import Padding
from jaxsparse.voxel import _maps, _pooling
from jaxsparse.voxel.kernel_map import KernelMap
from jaxsparse.voxel.tensor import VoxelTensor, check_tensor


def unpool(
    x: VoxelTensor,
    onto: VoxelTensor,
    strides: int | Sequence[int] | None = None,
    *,
    padding: Padding = "VALID",
    plan: KernelMap | None = None,
) -> VoxelTensor:
    """The features of ``x`` at the finer sites of ``onto``: each gets those of the window that it lies in, 0 outside of all.

    The way back from a pooling whose windows do not overlap. It has no ground state: a site that is not in ``onto`` but
    whose parent is active would need the parent's value. Differentiable in reverse mode, to any order.

    Args:
      x: :class:`VoxelTensor` without background.
      onto: :class:`VoxelTensor` whose sites are taken, the input of the pooling, say. Its features have no effect.
      strides: those of the pooling, equal to its window; None: the smallest that lead from ``onto`` to ``x``.
      padding: that of the pooling.
      plan: this call's entry of a :func:`voxel.plan`.

    Returns:
      :class:`VoxelTensor` with the sites of ``onto`` and the channels of ``x``.

    Raises:
      ValueError: ``x`` has a background, the pooling does not lead from ``onto`` to ``x``, or a plan for something else.
      TypeError: not ``VoxelTensor``, not integers.

    Source: SparseConvNet's UnPooling.

    Example::

      >>> from jaxsparse import voxel

      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 0], [0, 1], [0, 4]], [[1.0], [3.0], [-2.0]], batch_size=1, spatial_shape=(6,)
      ... )
      >>> voxel.unpool(voxel.max_pool(x, 2), x).features.ravel().tolist()
      [3.0, 3.0, -2.0]
    """
    check_tensor("unpool", "x", x)
    check_tensor("unpool", "onto", onto)
    if x.background is not None:
        wording = "without background (x.without_background() drops it)"
        raise ValueError(expected("unpool", "x", wording, "one with background"))
    if len(onto.spatial_shape) != len(x.spatial_shape):
        wording = f"of {len(x.spatial_shape)} spatial dimensions, as x"
        raise ValueError(expected("unpool", "onto", wording, onto.spatial_shape))
    if strides is None:
        _, padding, _ = windows.sliding("unpool", len(x.spatial_shape), 1, padding, 1)
        up = padding == "SAME"
        sizes = zip(onto.spatial_shape, x.spatial_shape, strict=True)
        strides = tuple(-(-n // m) if up else n // (m + 1) + 1 for n, m in sizes)
    kernel_map = _maps.onto_map(
        "unpool", x, onto, strides, strides, padding, plan=plan, argument="strides"
    )
    return kernel_map.tensor(_pooling.total(x.features, kernel_map))
