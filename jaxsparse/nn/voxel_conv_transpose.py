"""Transposed and inverse convolution of voxels as Flax layers."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxsparse import voxel
from jaxsparse._core import capacity as capacities
from jaxsparse._core import windows
from jaxsparse.nn.direct_conv import Ints, default_bias_init, default_kernel_init
from jaxsparse.nn.observe import notify
from jaxsparse.nn.voxel_conv import VoxelKernel
from jaxsparse.nn.voxel_geometry import rows_of


class VoxelConvTranspose(VoxelKernel):
    """Transposed convolution: every site that an active site reaches becomes active, up to a capacity.

    The keyword order is that of ``flax.nnx.ConvTranspose`` and so is the kernel (``transpose_kernel=False``). The meaning is
    that of :func:`jaxsparse.voxel.conv_transpose`.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel; an integer means one spatial dimension.
      strides: an integer or one for each spatial dimension.
      padding: as of ``lax.conv_transpose``.
      use_bias: whether to add a bias.
      capacity: rows of the output. At most one of ``capacity`` and ``density`` may be given; with neither nothing is ever
        cut.
      density: the same as a share of all voxels of the batch, ``ceil(density * batch * volume - 1e-6)`` rows.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of kernel and bias.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size or stride is below 1, ``capacity`` or ``density`` is 0 or both are given.
      TypeError: not an integer, not a floating point type, not a function.

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 3]], [[1.0]], batch_size=1, spatial_shape=(4,))
      >>> y = nn.VoxelConvTranspose(1, 8, (2,), 2, rngs=nnx.Rngs(0))(x)
      >>> y.coords.tolist(), y.spatial_shape
      ([[0, 6], [0, 7]], (8,))
    """

    kind = "conv_transpose"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: Ints = 1,
        *,
        padding: windows.Padding = "SAME",
        use_bias: bool = True,
        capacity: int | None = None,
        density: float | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        checked = capacities.check("VoxelConvTranspose", capacity, density)
        self.capacity, self.density_bound = checked
        super().__init__(
            in_features, out_features, kernel_size, strides, padding=padding, use_bias=use_bias,
            dtype=dtype, param_dtype=param_dtype, precision=precision, kernel_init=kernel_init,
            bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def __call__(
        self, x: voxel.VoxelTensor, *, plan: voxel.KernelMap | None = None
    ) -> voxel.VoxelTensor:
        """Convolves ``x``, which must have no background.

        Args:
          x: a ``VoxelTensor`` with ``in_features`` channels and ``len(kernel_size)`` spatial dimensions.
          plan: this call's entry of a plan, whose capacity counts.

        Returns:
          A ``VoxelTensor`` with ``out_features`` channels.

        Raises:
          TypeError: ``x`` is not a ``VoxelTensor``.
          ValueError: its rank or channels do not fit, it has a background, or a plan for something else.
        """
        given, kernel, bias = self.operands(x)
        rows = rows_of(self, x.batch_size, x.spatial_shape) if plan is None else None
        y = voxel.conv_transpose(
            given, kernel, bias, strides=self.strides, padding=self.padding,
            capacity=rows, plan=plan,
            precision=self.precision,
        )  # fmt: skip
        return notify(self, x, y)


class VoxelInverseConv(VoxelKernel):
    """Inverse convolution: back onto the sites of a level that a strided convolution led from.

    The kernel is ``[*kernel_size, in_features, out_features]``. The meaning is that of :func:`jaxsparse.voxel.inverse_conv`
    with the strides and padding of the convolution that is undone.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel; an integer means one spatial dimension.
      strides: those of the convolution that is undone.
      padding: likewise.
      use_bias: whether to add a bias.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of kernel and bias.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size or stride is below 1.
      TypeError: not an integer, not a floating point type, not a function.

    Source: SparseConvNet's Deconvolution, spconv's SparseInverseConv3d.

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 3]], [[1.0]], batch_size=1, spatial_shape=(4,))
      >>> down = nn.VoxelConv(1, 8, (2,), 2, rngs=nnx.Rngs(0))
      >>> up = nn.VoxelInverseConv(8, 4, (2,), 2, rngs=nnx.Rngs(0))
      >>> up(down(x), onto=x).coords.tolist()
      [[0, 3]]
    """

    kind = "inverse_conv"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: Ints = 1,
        *,
        padding: windows.Padding = "SAME",
        use_bias: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_features, out_features, kernel_size, strides, padding=padding, use_bias=use_bias,
            dtype=dtype, param_dtype=param_dtype, precision=precision, kernel_init=kernel_init,
            bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def __call__(
        self,
        x: voxel.VoxelTensor,
        *,
        onto: voxel.VoxelTensor,
        plan: voxel.KernelMap | None = None,
    ) -> voxel.VoxelTensor:
        """Convolves ``x``, which must have no background.

        Args:
          x: a ``VoxelTensor`` with ``in_features`` channels and ``len(kernel_size)`` spatial dimensions.
          onto: a ``VoxelTensor`` whose sites are taken: the input of the convolution that is undone.
          plan: this call's entry of a plan.

        Returns:
          A ``VoxelTensor`` with ``out_features`` channels and the sites of ``onto``.

        Raises:
          TypeError: not a ``VoxelTensor``.
          ValueError: shapes that do not fit, ``x`` has a background, or a plan for something else.
        """
        given, kernel, bias = self.operands(x)
        y = voxel.inverse_conv(
            given, kernel, bias, onto=onto, strides=self.strides, padding=self.padding, plan=plan,
            precision=self.precision,
        )  # fmt: skip
        return notify(self, x, y)
