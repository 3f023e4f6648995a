"""A sparse U-Net: segmentation of voxels."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx

from jaxsparse import nn, voxel
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.models import _arguments
from jaxsparse.models.voxel_blocks import ConvNormRelu, Maps, ResidualBlock
from jaxsparse.voxel.tensor import check_tensor


class VoxelUNet(nnx.Module):
    """Residual blocks of submanifold convolutions on a pyramid of levels: strided down, inverse up, with skip connections.

    Down goes a convolution (2 wide, stride 2), up an inverse convolution of the same geometry onto the sites of the way
    down, whose features are concatenated. The result has the sites of the input. Every call builds the kernel maps of all
    levels once; the ways up cost none.

    Args:
      in_features: channels of the input.
      classes: channels of the result.
      widths: channels of each level on the way down, the input's first.
      up_widths: channels on the way up, from the coarsest but one to the finest; None: those of the way down.
      blocks: residual blocks of each level, on each way, or one number for all.
      dims: spatial dimensions, 1 to 4.
      densities: bounds of the levels but the first, as shares of all voxels of the batch; None: nothing is ever cut.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: sizes below 1, lists of the wrong length, a density that is not positive.
      TypeError: not an integer, not a number, not a floating point type.

    Source: the U-Net of Graham et al. (2018) with residual blocks, as MinkUNet (Choy et al., 2019).

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import models, voxel

      >>> model = models.VoxelUNet(1, 5, widths=(8, 16), rngs=nnx.Rngs(0))
      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 4, 5, 6], [1, 7, 7, 7]], [[1.0], [1.0]], batch_size=2, spatial_shape=(16,) * 3
      ... )
      >>> y = model(x)
      >>> y.features.shape, bool((y.coords == x.coords).all())
      ((2, 5), True)
    """

    def __init__(
        self,
        in_features: int,
        classes: int,
        *,
        widths: Sequence[int] = (32, 64, 128, 256),
        up_widths: Sequence[int] | None = None,
        blocks: int | Sequence[int] = 1,
        dims: int = 3,
        densities: Sequence[float] | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        rngs: nnx.Rngs,
    ):
        name = "VoxelUNet"
        in_features = checks.integer(name, "in_features", in_features, minimum=1)
        classes = checks.integer(name, "classes", classes, minimum=1)
        widths = _arguments.sizes(name, "widths", widths)
        levels = len(widths)
        if up_widths is None:
            up_widths = widths[-2::-1]
        elif len(up_widths) or levels > 1:
            meaning = "one for each level but the coarsest"
            up_widths = _arguments.sizes(name, "up_widths", up_widths, levels - 1, meaning)
        depths = checks.integers(name, "blocks", blocks, dims=levels)
        dims = checks.integer(name, "dims", dims, minimum=1)
        bounds = _arguments.level_densities(name, densities, levels - 1)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        kinds: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        convs: dict[str, Any] = {"use_bias": False, "precision": precision, **kinds}

        def chain(features: int, width: int, depth: int) -> nnx.List:
            inputs = [features, *(width,) * (depth - 1)]
            return nnx.List(
                ResidualBlock(n, width, dims, precision=precision, **kinds) for n in inputs
            )

        stem = nn.VoxelSubmanifoldConv(in_features, widths[0], (3,) * dims, **convs)
        enters = [ConvNormRelu(stem, **kinds)]
        down_blocks = [chain(widths[0], widths[0], depths[0])]
        for level in range(1, levels):
            fine = widths[level - 1]
            down = nn.VoxelConv(fine, fine, (2,) * dims, 2, density=bounds[level - 1], **convs)
            enters.append(ConvNormRelu(down, **kinds))
            down_blocks.append(chain(fine, widths[level], depths[level]))
        ups, up_blocks, features = [], [], widths[-1]
        for level, width in zip(reversed(range(levels - 1)), up_widths, strict=True):
            up = nn.VoxelInverseConv(features, width, (2,) * dims, 2, **convs)
            ups.append(ConvNormRelu(up, **kinds))
            up_blocks.append(chain(width + widths[level], width, depths[level]))
            features = width
        self.enters, self.down_blocks = nnx.List(enters), nnx.List(down_blocks)
        self.ups, self.up_blocks = nnx.List(ups), nnx.List(up_blocks)
        self.logits = nn.VoxelSubmanifoldConv(
            features, classes, (1,) * dims, precision=precision, **kinds
        )
        self.in_features = in_features

    def __call__(self, x: voxel.VoxelTensor) -> voxel.VoxelTensor:
        """Scores of every site: a ``VoxelTensor`` with the sites of ``x`` and ``classes`` channels.

        Args:
          x: ``VoxelTensor`` of ``in_features`` channels; a background is dropped.

        Raises:
          ValueError: other channels.
          TypeError: ``x`` is no ``VoxelTensor``.
        """
        check_tensor("VoxelUNet", "x", x)
        if x.channels != self.in_features:
            wording = f"of {self.in_features} channels"
            raise ValueError(expected("VoxelUNet", "x", wording, x.channels))
        x = x.without_background()
        maps = Maps(nn.voxel_plan(x, self._layers()))
        skips = []
        for enter, blocks in zip(self.enters, self.down_blocks, strict=True):
            x = enter(x, plan=maps.next())
            for block in blocks:
                x = block(x, maps)
            skips.append(x)
        skips.pop()
        for up, blocks in zip(self.ups, self.up_blocks, strict=True):
            skip = skips.pop()
            x = nn.concat([up(x, plan=maps.next(), onto=skip), skip])
            for block in blocks:
                x = block(x, maps)
        return self.logits(x, plan=maps.next())

    def _layers(self) -> list[Any]:
        """Every convolution, in the order of the calls."""
        layers = []
        for enters, chains in ((self.enters, self.down_blocks), (self.ups, self.up_blocks)):
            for enter, blocks in zip(enters, chains, strict=True):
                layers += [enter.conv, *(layer for block in blocks for layer in block.layers)]
        return [*layers, self.logits]
