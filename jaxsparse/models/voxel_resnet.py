"""A sparse residual network: classification, and the encoder of detectors."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import nn, voxel
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.models import _arguments
from jaxsparse.models.voxel_blocks import ConvNormRelu, Maps, ResidualBlock
from jaxsparse.voxel.tensor import check_tensor

VOXEL_RESNET_SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "small": {"widths": (16, 32, 64, 128), "blocks": 1},
        "medium": {"widths": (32, 64, 128, 256), "blocks": 2},
        "large": {"widths": (64, 128, 256, 512), "blocks": 3},
    }
)
"""The encoders of youngsm/sparse-conv-benchmarks: 1.5, 10.6 and 61.1 million parameters in three dimensions."""


class VoxelResNet(nnx.Module):
    """A submanifold stem, then stages of residual blocks with a strided convolution (3 wide, stride 2) between them.

    Every call builds the kernel maps of all stages once: the convolutions of a stage share one.

    Args:
      in_features: channels of the input.
      classes: outputs of a linear layer behind global average pooling; None: there is none.
      widths: channels of each stage.
      blocks: residual blocks of each stage, or one number for all.
      dims: spatial dimensions, 1 to 4.
      densities: bounds of the strided convolutions, one fewer than stages, as shares of all voxels of the batch; None:
        nothing is ever cut.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: sizes below 1, lists of the wrong length, a density that is not positive.
      TypeError: not an integer, not a number, not a floating point type.

    Source: He et al. (2016) with submanifold convolutions (Graham et al., 2018).

    Example usage::

      >>> from flax import nnx
      >>> from jaxsparse import models, voxel

      >>> model = models.VoxelResNet(1, 10, **models.VOXEL_RESNET_SIZES["small"], rngs=nnx.Rngs(0))
      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 4, 5, 6], [1, 7, 7, 7]], [[1.0], [1.0]], batch_size=2, spatial_shape=(16,) * 3
      ... )
      >>> model(x).shape
      (2, 10)
      >>> [y.spatial_shape[0] for y in model.stages(x)]
      [16, 8, 4, 2]
    """

    def __init__(
        self,
        in_features: int,
        classes: int | None = None,
        *,
        widths: Sequence[int] = (16, 32, 64, 128),
        blocks: int | Sequence[int] = 1,
        dims: int = 3,
        densities: Sequence[float] | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        rngs: nnx.Rngs,
    ):
        name = "VoxelResNet"
        in_features = checks.integer(name, "in_features", in_features, minimum=1)
        if classes is not None:
            classes = checks.integer(name, "classes", classes, minimum=1)
        widths = _arguments.sizes(name, "widths", widths)
        depths = checks.integers(name, "blocks", blocks, dims=len(widths))
        dims = checks.integer(name, "dims", dims, minimum=1)
        bounds = _arguments.level_densities(name, densities, len(widths) - 1)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        kinds: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        convs: dict[str, Any] = {"use_bias": False, "precision": precision, **kinds}
        stem = nn.VoxelSubmanifoldConv(in_features, widths[0], (3,) * dims, **convs)
        enters, stages = [ConvNormRelu(stem, **kinds)], []
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            if stage:
                down = nn.VoxelConv(
                    widths[stage - 1], width, (3,) * dims, 2, density=bounds[stage - 1], **convs
                )
                enters.append(ConvNormRelu(down, **kinds))
            stages.append(
                nnx.List(
                    ResidualBlock(width, width, dims, precision=precision, **kinds)
                    for _ in range(depth)
                )
            )
        self.enters = nnx.List(enters)
        self.blocks = nnx.List(stages)
        self.logits = (
            nnx.data(None)
            if classes is None
            else nnx.Linear(widths[-1], classes, precision=precision, **kinds)
        )
        self.in_features = in_features
        self.features = widths[-1]

    def __call__(self, x: voxel.VoxelTensor) -> jax.Array:
        """Class scores ``[batch, classes]`` of ``x``, or ``[batch, features]`` where the network has no classes.

        Args:
          x: ``VoxelTensor`` of ``in_features`` channels; a background is dropped.

        Raises:
          ValueError: other channels.
          TypeError: ``x`` is no ``VoxelTensor``.
        """
        pooled = nn.global_avg_pool(self.stages(x)[-1])
        return pooled if self.logits is None else self.logits(pooled)

    def stages(self, x: voxel.VoxelTensor) -> list[voxel.VoxelTensor]:
        """What each stage hands on, from fine to coarse."""
        check_tensor("VoxelResNet", "x", x)
        if x.channels != self.in_features:
            wording = f"of {self.in_features} channels"
            raise ValueError(expected("VoxelResNet", "x", wording, x.channels))
        x = x.without_background()
        layers = []
        for enter, blocks in zip(self.enters, self.blocks, strict=True):
            layers += [enter.conv, *(layer for block in blocks for layer in block.layers)]
        maps, outputs = Maps(nn.voxel_plan(x, layers)), []
        for enter, blocks in zip(self.enters, self.blocks, strict=True):
            x = enter(x, plan=maps.next())
            for block in blocks:
                x = block(x, maps)
            outputs.append(x)
        return outputs
