"""Block-sparse convolution as a Flax layer."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import block
from jaxsparse._core import checks, windows
from jaxsparse._core.checks import expected
from jaxsparse.block.conv import _lead
from jaxsparse.block.conv import on_windows as convolve_windows
from jaxsparse.block.geometry import MAX_DIMS
from jaxsparse.block.indices import check_blocks
from jaxsparse.nn.arguments import hashable, kernel_size_of

Ints = int | Sequence[int]

default_kernel_init = nnx.initializers.lecun_normal()
default_bias_init = nnx.initializers.zeros_init()


class BlockConv(nnx.Module):
    """Dense convolution inside active tiles, a base tensor elsewhere.

    The keyword order is that of ``flax.nnx.Conv`` and so is the kernel, ``[*kernel_size, in_features, out_features]``:
    weights trained there drop in unchanged. At every pixel of the tile of an active block the result is that of
    ``nnx.Conv``, at the border of the image, too; elsewhere it is ``base``, which is explicit: zeros if left out, never the
    input. See :func:`jaxsparse.block.conv`. Without ``blocks`` the layer is its own dense twin.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel in 1 to 3 dimensions; an integer means one spatial dimension.
      strides: an integer or one for each spatial dimension.
      padding: ``"SAME"``, ``"VALID"``, an integer, or for each dimension an integer or a ``(low, high)`` pair.
      kernel_dilation: an integer or one for each spatial dimension.
      use_bias: whether to add a bias.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of kernel and bias.
      precision: as in ``lax.conv_general_dilated``. The default is full precision, on a GPU too.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size, stride or dilation is below 1, ``kernel_size`` has not 1 to 3 numbers or the others not as many,
        ``padding`` is unknown.
      TypeError: not an integer, not a floating point type, not a function.

    Source: SBNet's block convolution (Ren et al., 2018), with strides, dilation and the base made explicit.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import block, nn

      >>> x = jnp.ones((1, 32, 32, 3))
      >>> layer = nn.BlockConv(3, 8, (3, 3), strides=2, rngs=nnx.Rngs(0))
      >>> mask = jnp.zeros((1, 32, 32), bool).at[0, :8, :8].set(True)
      >>> blocks = block.reduce_mask(mask, layer.geometry((32, 32), 9), capacity=9)
      >>> int(blocks.count), layer(x, blocks).shape
      (1, (1, 16, 16, 8))
      >>> layer(x).shape  # dense
      (1, 16, 16, 8)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        *,
        strides: Ints = 1,
        padding: windows.Padding = "SAME",
        kernel_dilation: Ints = 1,
        use_bias: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = jax.lax.Precision.HIGHEST,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        name = "BlockConv"
        in_features = checks.integer(name, "in_features", in_features, minimum=1)
        out_features = checks.integer(name, "out_features", out_features, minimum=1)
        kernel_size = kernel_size_of(name, kernel_size, MAX_DIMS)
        windows.sliding(name, len(kernel_size), strides, padding, kernel_dilation)
        if dtype is not None:
            checks.float_dtype(name, "dtype", dtype)
        checks.float_dtype(name, "param_dtype", param_dtype)
        for argument, init in (("kernel_init", kernel_init), ("bias_init", bias_init)):
            checks.function_of(name, argument, init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        kernel_shape = (*kernel_size, in_features, out_features)
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
        self.use_bias = use_bias
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.precision = precision

    def geometry(
        self, spatial_shape: Sequence[int], block_size: int | Sequence[int]
    ) -> block.Geometry:
        """The grid of blocks for this layer alone: :func:`jaxsparse.block.geometry` of its convolution.

        Args:
          spatial_shape: sizes of the input.
          block_size: pixels of a window, an integer or one a dimension.

        Raises:
          ValueError, TypeError: as :func:`jaxsparse.block.geometry`.

        >>> from flax import nnx
        >>> from jaxsparse import nn
        >>> nn.BlockConv(1, 1, (3, 3), rngs=nnx.Rngs(0)).geometry((20, 30), 8).tile_size
        (6, 6)
        """
        return block.geometry(
            spatial_shape,
            block_size,
            kernel_sizes=(self.kernel_size,),
            strides=(self.strides,),
            kernel_dilations=(self.kernel_dilation,),
            padding=(self.padding,),
        )

    def __call__(
        self,
        x: jax.typing.ArrayLike,
        blocks: block.BlockIndices | None = None,
        base: jax.typing.ArrayLike | None = None,
    ) -> jax.Array:
        """Convolves ``x`` where blocks are active.

        Args:
          x: ``[batch, *spatial, in_features]``.
          blocks: :class:`jaxsparse.block.BlockIndices` of a geometry that fits, such as :meth:`geometry`'s; None: the dense
            convolution.
          base: ``[batch, *output spatial, out_features]``, what stands outside of active tiles; None: zeros. Written in
            place where nothing else needs it. Not used without ``blocks``.

        Returns:
          ``[batch, *output spatial, out_features]``.

        Raises:
          ValueError: shapes or a geometry that do not fit.
          TypeError: ``blocks`` is no ``BlockIndices``, ``x`` is not floating point.
        """
        x = checks.float_array("BlockConv", "x", x)
        x, kernel, bias = self._operands(x)
        if blocks is not None:
            if base is not None:
                base = checks.float_array("BlockConv", "base", base).astype(x.dtype)
            return block.conv(
                x, kernel, bias, blocks=blocks, base=base, strides=self.strides,
                padding=self.padding, kernel_dilation=self.kernel_dilation, precision=self.precision,
            )  # fmt: skip
        rank = len(self.kernel_size) + 2
        if x.ndim != rank or x.shape[-1] != self.in_features:
            wording = f"of rank {rank} and {self.in_features} channels"
            raise ValueError(expected("BlockConv", "x", wording, f"shape {x.shape}"))
        window = self._window(x.shape[1:-1])
        spatial = "DHW"[3 - len(self.kernel_size) :]
        y = jax.lax.conv_general_dilated(
            x,
            kernel,
            window.strides,
            window.padding,
            rhs_dilation=window.dilation,
            dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
            precision=self.precision,
        )
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)

    def on_windows(
        self, y: jax.Array, blocks: block.BlockIndices, level: int = 0, to: int | None = None
    ) -> jax.Array:
        """The convolution of gathered blocks, for chains of layers between one gather and one scatter.

        Pixels outside the image take part as they are: a chain sets them to 0 before a kernel larger than 1, see
        :func:`jaxsparse.block.inside`.

        Args:
          y: ``[M, *size, in_features]``, the boxes of ``blocks.geometry.levels[level]``.
          blocks: :class:`jaxsparse.block.BlockIndices` of capacity M.
          level: where in the chain this convolution begins.
          to: the level of its result; None: the next.

        Returns:
          ``[M, *size, out_features]``, the boxes of level ``to``.

        Raises:
          ValueError: shapes that do not fit, levels that do not exist, or boxes that this convolution does not connect.
          TypeError: ``blocks`` is no ``BlockIndices``.

        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxsparse import block, nn
        >>> conv = nn.BlockConv(2, 4, (3,), rngs=nnx.Rngs(0))
        >>> blocks = block.reduce_mask(
        ...     jnp.ones((1, 20)), block.geometry((20,), 9, kernel_sizes=(3, 3))
        ... )
        >>> conv.on_windows(block.gather(jnp.ones((1, 20, 2)), blocks), blocks).shape
        (4, 7, 4)
        """
        check_blocks("BlockConv", "blocks", blocks)
        levels = blocks.geometry.levels
        level = checks.integer("BlockConv", "level", level, minimum=0)
        to = level + 1 if to is None else checks.integer("BlockConv", "to", to, minimum=1)
        if not level < to < len(levels):
            wording = f"above level and at most {len(levels) - 1}, the last of the chain"
            raise ValueError(expected("BlockConv", "to", wording, to))
        box, result = levels[level], levels[to]
        y = checks.float_array("BlockConv", "y", y)
        shape = (blocks.capacity, *box.size, self.in_features)
        checks.shape("BlockConv", "y", y, shape, "[M, *size of that level, in_features]")
        window = self._window(box.spatial_shape)
        lead = _lead(block.Geometry(blocks.geometry.grid, (box, result)), window)
        y, kernel, bias = self._operands(y)
        y = convolve_windows(y, kernel, window, lead, result.size, self.precision)
        return y if bias is None else y + jnp.broadcast_to(bias, y.shape)

    def _operands(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        kernel = self.kernel[...]
        bias = self.bias[...] if self.bias is not None else None
        floats = [x, kernel] if bias is None else [x, kernel, bias]
        dtype = jnp.result_type(*floats) if self.dtype is None else self.dtype
        return x.astype(dtype), kernel.astype(dtype), None if bias is None else bias.astype(dtype)

    def _window(self, spatial_shape: tuple[int, ...]) -> windows.Convolution:
        return windows.convolution(
            "BlockConv", spatial_shape, self.kernel_size, self.strides, self.padding,
            self.kernel_dilation,
        )  # fmt: skip
