"""SBNet's residual unit: three convolutions between one gather and one scatter."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import block
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.block.geometry import MAX_DIMS
from jaxsparse.block.indices import check_blocks
from jaxsparse.block.scatter import scatter_new
from jaxsparse.nn.arguments import hashable, kernel_size_of
from jaxsparse.nn.block_batch_norm import BlockBatchNorm
from jaxsparse.nn.block_conv import BlockConv, Ints, default_kernel_init


class BlockResidualUnit(nnx.Module):
    """Pre-activation bottleneck: three times norm, ReLU, convolution (1, ``kernel_size``, 1), and a shortcut.

    Called with blocks, it gathers their windows once, computes everything inside them and scatters once. Called without, it
    is its own dense twin. Given the same statistics, both agree at every pixel of the tiles of active blocks; at the border
    of the image, too, where a dense layer pads *behind* norm and ReLU: pixels outside the image are set to 0 again before
    the middle convolution (the 1 x 1 ones have no padding). Statistics that are taken in training mode are those of the
    active tiles, see :class:`BlockBatchNorm`.

    Where channels and spatial shape stay, the shortcut is the identity and the unit *adds* onto ``x``, in place if nothing
    else needs ``x`` (a donated argument, the result of the unit before): outside of active tiles the result is ``x``.
    Otherwise the shortcut is a 1 x 1 convolution with the strides, of the first norm's and ReLU's result. It is computed
    inside the blocks, too, and outside of active tiles the result is ``base``. (SBNet computes the shortcut of strided units
    everywhere; hand it over as ``base`` for that.)

    Args:
      features: number of input channels.
      bottleneck_features: channels between the convolutions; None: a quarter of ``out_features``, as in SBNet.
      out_features: number of output channels; None: ``features``.
      strides: of the middle convolution, an integer or one for each spatial dimension.
      kernel_size: extent of the middle kernel in 1 to 3 dimensions; an integer means one spatial dimension.
      kernel_dilation: of the middle convolution.
      use_bias: whether the convolutions have biases.
      momentum: decay rate of the running statistics.
      epsilon: what is added to the variance.
      axis_name: mesh axis over whose devices the lists are spread, inside ``shard_map``.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``. The default is full precision, on a GPU too.
      kernel_init: initialiser of the kernels.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size, stride or dilation is below 1 or they are not as many as the kernel has dimensions.
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: SBNet's sparse residual unit (Ren et al., 2018) after the pre-activation unit of He et al. (2016).

    Example usage::

      >>> import jax
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import block, nn

      >>> unit = nn.BlockResidualUnit(32, rngs=nnx.Rngs(0))
      >>> unit.eval()
      >>> geometry = unit.geometry((40, 40), 12)
      >>> @jax.jit
      ... def infer(x, mask):
      ...     blocks = block.reduce_mask(mask, geometry, capacity=4)
      ...     return unit(x, blocks)

      >>> mask = jnp.zeros((1, 40, 40), bool).at[0, 2:8, 2:8].set(True)
      >>> infer(jnp.ones((1, 40, 40, 32)), mask).shape
      (1, 40, 40, 32)
    """

    def __init__(
        self,
        features: int,
        bottleneck_features: int | None = None,
        out_features: int | None = None,
        *,
        strides: Ints = 1,
        kernel_size: int | Sequence[int] = (3, 3),
        kernel_dilation: Ints = 1,
        use_bias: bool = False,
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        axis_name: str | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = jax.lax.Precision.HIGHEST,
        kernel_init: nnx.Initializer = default_kernel_init,
        rngs: nnx.Rngs,
    ):
        name = "BlockResidualUnit"
        features = checks.integer(name, "features", features, minimum=1)
        if out_features is None:
            out_features = features
        out_features = checks.integer(name, "out_features", out_features, minimum=1)
        if bottleneck_features is None:
            bottleneck_features = max(1, out_features // 4)
        middle = checks.integer(name, "bottleneck_features", bottleneck_features, minimum=1)
        kernel_size = kernel_size_of(name, kernel_size, MAX_DIMS)
        dims = len(kernel_size)
        strides = checks.integers(name, "strides", hashable(strides), dims=dims)
        dilation = checks.integers(name, "kernel_dilation", hashable(kernel_dilation), dims=dims)
        momentum = checks.number(name, "momentum", momentum, low=0, high=1)
        epsilon = checks.number(name, "epsilon", epsilon, low=0)
        shared: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        conv: dict[str, Any] = {
            "use_bias": use_bias, "precision": precision, "kernel_init": kernel_init, **shared,
        }  # fmt: skip
        norm: dict[str, Any] = {
            "momentum": momentum, "epsilon": epsilon, "axis_name": axis_name,
            "use_fast_variance": False, **shared,
        }  # fmt: skip
        point = (1,) * dims
        # The convolution comes first: it checks what it shares with the norm.
        self.conv1 = BlockConv(features, middle, point, **conv)
        self.norm1 = BlockBatchNorm(features, **norm)
        self.conv2 = BlockConv(
            middle, middle, kernel_size, strides=strides, kernel_dilation=dilation, **conv
        )
        self.norm2 = BlockBatchNorm(middle, **norm)
        self.conv3 = BlockConv(middle, out_features, point, **conv)
        self.norm3 = BlockBatchNorm(middle, **norm)
        identity = features == out_features and max(strides) == 1
        self.projection = (
            nnx.data(None)
            if identity
            else BlockConv(features, out_features, point, strides=strides, **conv)
        )
        self.features = features
        self.bottleneck_features = middle
        self.out_features = out_features
        self.kernel_size = kernel_size
        self.strides = strides
        self.kernel_dilation = dilation

    def geometry(
        self, spatial_shape: Sequence[int], block_size: int | Sequence[int]
    ) -> block.Geometry:
        """The grid of blocks of this unit; units of the same kernel, strides and dilation share it and its lists.

        Args:
          spatial_shape: sizes of the input.
          block_size: pixels of a window, an integer or one a dimension.

        Raises:
          ValueError, TypeError: as :func:`jaxsparse.block.geometry`.

        >>> from flax import nnx
        >>> from jaxsparse import nn
        >>> unit = nn.BlockResidualUnit(8, out_features=16, strides=2, rngs=nnx.Rngs(0))
        >>> unit.geometry((40, 40), 13).tile_size
        (6, 6)
        """
        point = (1,) * len(self.kernel_size)
        return block.geometry(
            spatial_shape,
            block_size,
            kernel_sizes=(point, self.kernel_size, point),
            strides=(point, self.strides, point),
            kernel_dilations=(point, self.kernel_dilation, point),
        )

    def __call__(
        self,
        x: jax.typing.ArrayLike,
        blocks: block.BlockIndices | None = None,
        base: jax.typing.ArrayLike | None = None,
    ) -> jax.Array:
        """Applies the unit where blocks are active.

        Args:
          x: ``[batch, *spatial, features]``.
          blocks: :class:`jaxsparse.block.BlockIndices` of this unit's :meth:`geometry`; None: dense.
          base: ``[batch, *output spatial, out_features]``, what stands outside of active tiles, for units with a projection
            only; None: zeros. Not used without ``blocks``.

        Returns:
          ``[batch, *output spatial, out_features]``.

        Raises:
          ValueError: shapes or a geometry that do not fit; ``base`` with an identity shortcut.
          TypeError: ``blocks`` is no ``BlockIndices``, ``x`` is not floating point.
        """
        name = "BlockResidualUnit"
        x = checks.float_array(name, "x", x)
        rank = len(self.kernel_size) + 2
        if x.ndim != rank or x.shape[-1] != self.features:
            wording = f"of rank {rank} and {self.features} channels"
            raise ValueError(expected(name, "x", wording, f"shape {x.shape}"))
        if base is not None and self.projection is None:
            wording = "None for an identity shortcut, which adds onto x"
            raise ValueError(expected(name, "base", wording, checks.kind(base)))
        if blocks is None:
            y = jax.nn.relu(self.norm1(x))
            shortcut = x if self.projection is None else self.projection(y)
            y = jax.nn.relu(self.norm2(self.conv1(y)))
            y = self.conv3(jax.nn.relu(self.norm3(self.conv2(y))))
            return shortcut.astype(y.dtype) + y
        self._check_geometry(x, blocks)
        where: dict[str, Any] = {"blocks": blocks, "batch_size": x.shape[0]}
        y = jax.nn.relu(self.norm1(block.gather(x, blocks), **where))
        shortcut = (
            None if self.projection is None else self.projection.on_windows(y, blocks, 0, to=3)
        )
        y = jax.nn.relu(self.norm2(self.conv1.on_windows(y, blocks, 0), level=1, **where))
        # Here a dense network pads with 0, whatever norm and bias made of the outside.
        inside = block.inside(blocks, 1, batch_size=x.shape[0])[..., None]
        y = self.conv2.on_windows(jnp.where(inside, y, 0), blocks, 1)
        y = jax.nn.relu(self.norm3(y, level=2, **where))
        y = self.conv3.on_windows(y, blocks, 2)
        if shortcut is None:
            return block.scatter_add(y, blocks, x.astype(y.dtype))
        if base is None:
            return scatter_new(y + shortcut, blocks, batch_size=x.shape[0])
        base = checks.float_array(name, "base", base)
        return block.scatter(y + shortcut, blocks, base.astype(y.dtype))

    def _check_geometry(self, x: jax.Array, blocks: Any) -> None:
        name = "BlockResidualUnit"
        check_blocks(name, "blocks", blocks)
        found = blocks.geometry
        shape = tuple(x.shape[1:-1])
        if shape != found.spatial_shape or self.geometry(shape, found.block_size) != found:
            what = f"one for {found.spatial_shape} with {len(found.levels) - 1} convolutions"
            wording = f"that of this unit, unit.geometry({shape}, block_size)"
            raise ValueError(expected(name, "blocks.geometry", wording, what))
