"""Spatially sparse and submanifold convolution as Flax layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import voxel
from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse.nn.arguments import hashable, kernel_size_of
from jaxsparse.nn.batch_norm import cast
from jaxsparse.nn.direct_conv import Ints, default_bias_init, default_kernel_init
from jaxsparse.nn.observe import notify
from jaxsparse.nn.voxel_geometry import rows_of
from jaxsparse.voxel.tensor import check_tensor


class VoxelKernel(nnx.Module):
    """Kernel and bias, and what all convolutions of ``VoxelTensor`` have in common. Not a layer by itself."""

    kind = ""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: Ints = 1,
        *,
        padding: windows.Padding = "SAME",
        kernel_dilation: Ints = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        name = type(self).__name__
        in_features = checks.integer(name, "in_features", in_features, minimum=1)
        out_features = checks.integer(name, "out_features", out_features, minimum=1)
        kernel_size = kernel_size_of(name, kernel_size)
        windows.sliding(name, len(kernel_size), strides, padding, kernel_dilation)
        groups = checks.integer(name, "feature_group_count", feature_group_count, minimum=1)
        if in_features % groups or out_features % groups:
            wording = f"a divisor of {in_features} and {out_features} features"
            raise ValueError(checks.expected(name, "feature_group_count", wording, groups))
        if dtype is not None:
            checks.float_dtype(name, "dtype", dtype)
        checks.float_dtype(name, "param_dtype", param_dtype)
        for argument, init in (("kernel_init", kernel_init), ("bias_init", bias_init)):
            checks.function_of(name, argument, init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(checks.expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        kernel_shape = (*kernel_size, in_features // groups, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), kernel_shape, param_dtype))
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
            if use_bias
            else nnx.data(None)
        )
        self.in_features = in_features
        self.out_features = out_features
        self.kernel_size = kernel_size
        self.strides = hashable(strides)
        self.padding = hashable(padding)
        self.kernel_dilation = hashable(kernel_dilation)
        self.feature_group_count = groups
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision

    def operands(self, x: Any) -> tuple[voxel.VoxelTensor, jax.Array, jax.Array | None]:
        """``x``, kernel and bias in one dtype: the layer's, or the promoted one."""
        check_tensor(type(self).__name__, "x", x)
        kernel = self.kernel[...]
        bias = None if self.bias is None else self.bias[...]
        floats = [x.features, kernel] if bias is None else [x.features, kernel, bias]
        dtype = jnp.result_type(*floats) if self.dtype is None else self.dtype
        return cast(x, dtype), kernel.astype(dtype), None if bias is None else bias.astype(dtype)


class VoxelConv(VoxelKernel):
    """Sparse convolution: every site that an active site reaches becomes active, up to a capacity.

    The keyword order is that of ``flax.nnx.Conv`` and so is the kernel, ``[*kernel_size, in_features / groups,
    out_features]``: weights trained there drop in unchanged. The meaning is that of :func:`jaxsparse.voxel.conv`. With a
    ground state the layer equals ``nnx.Conv`` everywhere.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel; an integer means one spatial dimension.
      strides: an integer or one for each spatial dimension.
      padding: ``"SAME"``, ``"VALID"``, an integer, or for each dimension an integer or a ``(low, high)`` pair.
      kernel_dilation: an integer or one for each spatial dimension.
      feature_group_count: groups of channels.
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
      ValueError: a size, stride or dilation is below 1, groups that do not divide the channels, ``capacity`` or
        ``density`` is 0 or both are given.
      TypeError: not an integer, not a floating point type, not a function.

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 3, 3]], [[1.0]], batch_size=1, spatial_shape=(8, 8))
      >>> nn.VoxelConv(1, 16, (3, 3), 2, capacity=8, rngs=nnx.Rngs(0))(x)
      VoxelTensor(capacity=8, channels=16, batch=1, spatial_shape=(4, 4), dtype=float32)
    """

    kind = "conv"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: Ints = 1,
        *,
        padding: windows.Padding = "SAME",
        kernel_dilation: Ints = 1,
        feature_group_count: int = 1,
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
        self.capacity, self.density_bound = capacities.check("VoxelConv", capacity, density)
        super().__init__(
            in_features, out_features, kernel_size, strides, padding=padding,
            kernel_dilation=kernel_dilation, feature_group_count=feature_group_count,
            use_bias=use_bias, dtype=dtype, param_dtype=param_dtype, precision=precision,
            kernel_init=kernel_init, bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def __call__(
        self, x: voxel.VoxelTensor, *, plan: voxel.KernelMap | None = None
    ) -> voxel.VoxelTensor:
        """Convolves ``x``.

        Args:
          x: a ``VoxelTensor`` with ``in_features`` channels and ``len(kernel_size)`` spatial dimensions.
          plan: this call's entry of a plan, whose capacity counts.

        Returns:
          A ``VoxelTensor`` with ``out_features`` channels.

        Raises:
          TypeError: ``x`` is not a ``VoxelTensor``.
          ValueError: its rank or channels do not fit, or a plan for something else.
        """
        given, kernel, bias = self.operands(x)
        rows = rows_of(self, x.batch_size, x.spatial_shape) if plan is None else None
        y = voxel.conv(
            given, kernel, bias, strides=self.strides, padding=self.padding,
            kernel_dilation=self.kernel_dilation, feature_group_count=self.feature_group_count,
            capacity=rows, plan=plan,
            precision=self.precision,
        )  # fmt: skip
        return notify(self, x, y)


class VoxelSubmanifoldConv(VoxelKernel):
    """Submanifold convolution: the sites of the output are those of the input.

    The keyword order is that of ``flax.nnx.Conv`` (there are no strides, and the window lies as ``"SAME"`` lays it), and so
    is the kernel. The meaning is that of :func:`jaxsparse.voxel.submanifold_conv`.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel; an integer means one spatial dimension.
      kernel_dilation: an integer or one for each spatial dimension.
      feature_group_count: groups of channels.
      use_bias: whether to add a bias.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of kernel and bias.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size or dilation is below 1, groups that do not divide the channels.
      TypeError: not an integer, not a floating point type, not a function.

    Source: submanifold sparse convolution (Graham and van der Maaten, 2017).

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import nn, voxel

      >>> x = voxel.VoxelTensor.from_coords([[0, 3, 3]], [[1.0]], batch_size=1, spatial_shape=(8, 8))
      >>> nn.VoxelSubmanifoldConv(1, 16, (3, 3), rngs=nnx.Rngs(0))(x).features.shape
      (1, 16)
    """

    kind = "submanifold_conv"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        kernel_dilation: Ints = 1,
        feature_group_count: int = 1,
        use_bias: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            in_features, out_features, kernel_size, kernel_dilation=kernel_dilation,
            feature_group_count=feature_group_count, use_bias=use_bias, dtype=dtype,
            param_dtype=param_dtype, precision=precision, kernel_init=kernel_init,
            bias_init=bias_init, rngs=rngs,
        )  # fmt: skip

    def __call__(
        self, x: voxel.VoxelTensor, *, plan: voxel.KernelMap | None = None
    ) -> voxel.VoxelTensor:
        """Convolves ``x``; arguments, result and errors as of :class:`VoxelConv`."""
        given, kernel, bias = self.operands(x)
        y = voxel.submanifold_conv(
            given, kernel, bias, kernel_dilation=self.kernel_dilation,
            feature_group_count=self.feature_group_count, plan=plan, precision=self.precision,
        )  # fmt: skip
        return notify(self, x, y)
