"""What the block detector has beside residual units: pre-activation convolutions and upsampling with a skip."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsparse import block, nn
from jaxsparse.block.scatter import scatter_new


class PreActivation(nnx.Module):
    """Norm and ReLU, then convolutions of one kernel size side by side, in one gather.

    Args:
      features: input channels.
      out_features: output channels of each convolution.
      kernel_size: of all of them.
      normalise: whether norm and ReLU come first.
      conv: arguments of ``nn.BlockConv``.
      norm: arguments of ``nn.BlockBatchNorm``.
    """

    def __init__(
        self,
        features: int,
        out_features: Sequence[int],
        kernel_size: Sequence[int],
        *,
        normalise: bool = True,
        conv: dict[str, Any],
        norm: dict[str, Any],
    ):
        self.norm = nn.BlockBatchNorm(features, **norm) if normalise else nnx.data(None)
        self.convs = nnx.List(
            [nn.BlockConv(features, n, kernel_size, **conv) for n in out_features]
        )

    def geometry(self, spatial_shape: Sequence[int], block_size: int) -> block.Geometry:
        """The grid of blocks."""
        return self.convs[0].geometry(spatial_shape, block_size)

    def __call__(
        self,
        x: jax.Array,
        blocks: block.BlockIndices | None = None,
        backgrounds: Sequence[float] | None = None,
    ) -> list[jax.Array]:
        """One map a convolution; outside of active tiles they are ``backgrounds``, 0 if left out."""
        if blocks is None:
            y = x if self.norm is None else jax.nn.relu(self.norm(x))
            return [conv(y) for conv in self.convs]
        y = block.gather(x, blocks)
        if self.norm is not None:
            y = jax.nn.relu(self.norm(y, blocks=blocks, batch_size=x.shape[0]))
            y = jnp.where(block.inside(blocks, batch_size=x.shape[0])[..., None], y, 0)
        if backgrounds is None:
            backgrounds = (0.0,) * len(self.convs)
        maps = []
        for conv, background in zip(self.convs, backgrounds, strict=True):
            tiles = conv.on_windows(y, blocks)
            maps.append(scatter_new(tiles, blocks, batch_size=x.shape[0], background=background))
        return maps


# Of a kernel of 3 at stride 2, SAME: which tap (last axis) an even or odd output (first) has for the two inputs it reads.
_TAPS = np.zeros((2, 2, 3), np.float32)
_TAPS[0, 0, 0] = _TAPS[0, 1, 2] = _TAPS[1, 1, 1] = 1


class Upsample(nnx.Module):
    """A transposed 3 x 3 convolution by 2 of one map plus a 1 x 1 convolution of another, twice as fine; norm and ReLU first.

    The transposed convolution is ``lax.conv_transpose(..., (2, 2), "SAME")``, cut to the size of the finer map. It is
    computed as a 2 x 2 convolution to four times the channels, which are then dealt out: XLA has no fast dilated input on
    the CPU.

    Args:
      features: channels of the coarse map.
      skip_features: channels of the fine one.
      out_features: output channels.
      conv: arguments of ``nn.BlockConv``.
      norm: arguments of ``nn.BlockBatchNorm``.
    """

    def __init__(
        self,
        features: int,
        skip_features: int,
        out_features: int,
        *,
        conv: dict[str, Any],
        norm: dict[str, Any],
    ):
        self.norm = nn.BlockBatchNorm(features, **norm)
        self.skip_norm = nn.BlockBatchNorm(skip_features, **norm)
        # Its own convolution is not run as it stands: it holds and casts the kernel.
        self.conv = nn.BlockConv(features, out_features, (3, 3), **conv)
        self.skip_conv = nn.BlockConv(skip_features, out_features, (1, 1), **conv)

    def geometry(self, spatial_shape: Sequence[int], block_size: int) -> block.Geometry:
        """The grid of blocks on the coarse map: an output reads its own coarse pixel and the one before."""
        return block.geometry(
            spatial_shape, block_size, kernel_sizes=((2, 2),), padding=(((1, 0), (1, 0)),)
        )

    def __call__(
        self, x: jax.Array, skip: jax.Array, blocks: block.BlockIndices | None = None
    ) -> jax.Array:
        """``[batch, *spatial of skip, out_features]``; outside of active tiles 0."""
        if blocks is None:
            y = self._upsampled(jax.nn.relu(self.norm(x)), (1, 0))
            height, width = skip.shape[1:-1]
            return y[:, :height, :width] + self.skip_conv(jax.nn.relu(self.skip_norm(skip)))
        where: dict[str, Any] = {"batch_size": x.shape[0]}
        y = jax.nn.relu(self.norm(block.gather(x, blocks), blocks=blocks, **where))
        inside = block.inside(blocks, **where)[..., None]
        y = self._upsampled(jnp.where(inside, y, 0), (0, 0))
        coarse = blocks.geometry
        size = tuple(2 * n for n in coarse.tile_size)
        tile = block.Tiling(skip.shape[1:-1], size, size, (0, 0))
        # The same blocks, seen on the fine map. The 1 x 1 convolution goes from a tile to itself.
        fine = blocks.replace(geometry=block.Geometry(coarse.grid, (tile, tile)))
        z = jax.nn.relu(self.skip_norm(block.gather(skip, fine), blocks=fine, **where))
        y = y + self.skip_conv.on_windows(z, fine)
        return scatter_new(y, fine, batch_size=x.shape[0])

    def _upsampled(self, x: jax.Array, padding: tuple[int, int]) -> jax.Array:
        kernel = self.conv.kernel[...]
        dtype = jnp.result_type(x, kernel) if self.conv.dtype is None else self.conv.dtype
        x, kernel = x.astype(dtype), kernel.astype(dtype)
        taps = jnp.asarray(_TAPS, dtype)
        dealt = jnp.einsum("ptk,qul,klio->tuipqo", taps, taps, kernel, precision="highest")
        out = kernel.shape[-1]
        y = jax.lax.conv_general_dilated(
            x,
            dealt.reshape(2, 2, -1, 4 * out),
            (1, 1),
            (padding, padding),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.conv.precision,
        )
        rows, height, width = y.shape[:3]
        y = y.reshape(rows, height, width, 2, 2, out).transpose(0, 1, 3, 2, 4, 5)
        return y.reshape(rows, 2 * height, 2 * width, out)
