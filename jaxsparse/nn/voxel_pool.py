"""Max pooling of voxels as a layer with a capacity."""

from collections.abc import Sequence

from flax import nnx

from jaxsparse import voxel
from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse.nn.arguments import hashable, kernel_size_of
from jaxsparse.nn.direct_conv import Ints
from jaxsparse.nn.observe import notify
from jaxsparse.nn.voxel_geometry import rows_of
from jaxsparse.voxel.tensor import check_tensor


class VoxelMaxPool(nnx.Module):
    """:func:`jaxsparse.voxel.max_pool` as a layer, which :func:`calibrate` and :func:`report` see.

    Args:
      window_shape: an integer (one spatial dimension) or one for each spatial dimension.
      strides: an integer or one for each spatial dimension; None: the window.
      padding: ``"VALID"``, ``"SAME"``, an integer, or for each dimension an integer or a ``(low, high)`` pair.
      capacity: rows of the output. At most one of ``capacity`` and ``density`` may be given; with neither nothing is ever
        cut.
      density: the same as a share of all voxels of the batch, ``ceil(density * batch * volume - 1e-6)`` rows.

    Raises:
      ValueError: a window or stride is below 1, ``capacity`` or ``density`` is 0 or both are given.
      TypeError: not integers.

    Example usage::

      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 2]], [[3.0]], batch_size=1, spatial_shape=(7,))
      >>> nn.VoxelMaxPool((3,), 2, density=0.7)(x).coords.tolist()
      [[0, 0], [0, 1], [1, 0]]
    """

    kind = "max_pool"

    def __init__(
        self,
        window_shape: int | Sequence[int],
        strides: Ints | None = None,
        *,
        padding: windows.Padding = "VALID",
        capacity: int | None = None,
        density: float | None = None,
    ):
        name = "VoxelMaxPool"
        window = kernel_size_of(name, window_shape, argument="window_shape")
        strides = window if strides is None else strides
        self.strides = checks.integers(name, "strides", strides, dims=len(window))
        windows.sliding(name, len(window), self.strides, padding, 1)
        self.capacity, self.density_bound = capacities.check(name, capacity, density)
        self.window_shape = window
        self.padding = hashable(padding)

    def __call__(
        self, x: voxel.VoxelTensor, *, plan: voxel.KernelMap | None = None
    ) -> voxel.VoxelTensor:
        """Pools ``x``; ``plan`` is this call's entry of a plan, whose capacity counts.

        Raises:
          TypeError: ``x`` is not a ``VoxelTensor``.
          ValueError: its rank does not fit, or a plan for something else.
        """
        check_tensor("VoxelMaxPool", "x", x)
        rows = rows_of(self, x.batch_size, x.spatial_shape) if plan is None else None
        y = voxel.max_pool(
            x, self.window_shape, self.strides, padding=self.padding,
            capacity=rows, plan=plan,
        )  # fmt: skip
        return notify(self, x, y)
