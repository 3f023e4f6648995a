"""The network that predicts SBNet's masks: a pyramid scene parsing network on a small ResNet-18."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxsparse import nn
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.models import _arguments

default_kernel_init = nnx.initializers.lecun_normal()


class BasicUnit(nnx.Module):
    """Pre-activation unit without a bottleneck: twice norm, ReLU and a 3 x 3 convolution, and a shortcut.

    The shortcut is the identity where channels and strides allow, else a 1 x 1 convolution of what the first norm and ReLU
    made.

    Args:
      features: input channels.
      out_features: output channels.
      strides: of the first convolution.
      kernel_dilation: of both.
      conv: arguments of ``nnx.Conv``.
      norm: arguments of ``nnx.BatchNorm``.
    """

    def __init__(
        self,
        features: int,
        out_features: int,
        *,
        strides: int,
        kernel_dilation: int,
        conv: dict[str, Any],
        norm: dict[str, Any],
    ):
        dilated = {"kernel_dilation": kernel_dilation, **conv}
        self.norm1 = nnx.BatchNorm(features, **norm)
        self.conv1 = nnx.Conv(features, out_features, (3, 3), strides, **dilated)
        self.norm2 = nnx.BatchNorm(out_features, **norm)
        self.conv2 = nnx.Conv(out_features, out_features, (3, 3), **dilated)
        identity = features == out_features and strides == 1
        self.projection = (
            nnx.data(None)
            if identity
            else nnx.Conv(features, out_features, (1, 1), strides, **conv)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        """``[batch, *ceil(spatial / strides), out_features]``."""
        y = jax.nn.relu(self.norm1(x))
        shortcut = x if self.projection is None else self.projection(y)
        return shortcut + self.conv2(jax.nn.relu(self.norm2(self.conv1(y))))


class PSPNet(nnx.Module):
    """Which pixels of a map matter, at a fraction of its resolution: logits for a mask.

    The map is max-pooled by ``downsample``; then come a 3 x 3 convolution, stages of residual units without bottlenecks,
    pyramid pooling (averages over 1 x 1, 2 x 2, 3 x 3 and 6 x 6 parts of the map, each through a 1 x 1 convolution, norm
    and ReLU, set beside the features after bilinear interpolation), a 3 x 3 convolution, norm, ReLU and a 1 x 1 convolution
    to one logit a pixel, interpolated back to the pooled resolution. The network is dense: it is small, and its masks tell
    where a :class:`BlockDetector` computes.

    Args:
      in_features: channels of the map.
      downsample: pixels of the map a mask pixel, in each dimension.
      features: channels of each stage.
      units: residual units of each stage.
      strides: of each stage's first unit.
      kernel_dilations: of each stage's units.
      bins: parts of the map in each dimension, one number a level of the pyramid.
      momentum: decay rate of the running statistics.
      epsilon: what is added to the variance.
      axis_name: mesh axis over whose devices the batch is spread, inside ``shard_map``.
      dtype: the type of the computation.
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernels.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size below 1, lists that have not one number a stage.
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: SBNet (Ren et al., 2018), 4.2: PSPNet (Zhao et al., 2017) on a ResNet-18 (He et al., 2016) at 1/8 resolution, one
    initial convolution, [2, 2, 2, 2] units of 32 to 256 channels, no bottlenecks. What the paper leaves open is PSPNet's: the
    last two stages are dilated by 2 and 4 instead of strided, so that features are at half the mask's resolution, bins of 1,
    2, 3 and 6, a quarter of the last stage's channels behind the pyramid. Choices of this library: the map is max-pooled (a
    cell that holds a point stays seen), pre-activation units, the initial convolution has the first stage's channels.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import models

      >>> model = models.PSPNet(
      ...     3, downsample=4, features=(4, 8), units=(1, 1), strides=(1, 2), kernel_dilations=(1, 1),
      ...     bins=(1, 2), rngs=nnx.Rngs(0),
      ... )
      >>> model.eval()
      >>> model(jnp.ones((1, 40, 50, 3))).shape
      (1, 10, 13)
    """

    def __init__(
        self,
        in_features: int = 33,
        *,
        downsample: int = 8,
        features: Sequence[int] = (32, 64, 128, 256),
        units: Sequence[int] = (2, 2, 2, 2),
        strides: Sequence[int] = (1, 2, 1, 1),
        kernel_dilations: Sequence[int] = (1, 1, 2, 4),
        bins: Sequence[int] = (1, 2, 3, 6),
        momentum: float = 0.99,
        epsilon: float = 1e-5,
        axis_name: str | None = None,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = jax.lax.Precision.HIGHEST,
        kernel_init: nnx.Initializer = default_kernel_init,
        rngs: nnx.Rngs,
    ):
        in_features = checks.integer(NAME, "in_features", in_features, minimum=1)
        self.downsample = checks.integer(NAME, "downsample", downsample, minimum=1)
        features = _arguments.sizes(NAME, "features", features)
        stages = len(features)
        units = _arguments.sizes(NAME, "units", units, stages)
        strides = _arguments.sizes(NAME, "strides", strides, stages)
        dilations = _arguments.sizes(NAME, "kernel_dilations", kernel_dilations, stages)
        self.bins = _arguments.sizes(NAME, "bins", bins)
        momentum = checks.number(NAME, "momentum", momentum, low=0, high=1)
        epsilon = checks.number(NAME, "epsilon", epsilon, low=0)
        if dtype is not None:
            checks.float_dtype(NAME, "dtype", dtype)
        checks.float_dtype(NAME, "param_dtype", param_dtype)
        checks.function_of(NAME, "kernel_init", kernel_init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(expected(NAME, "rngs", "nnx.Rngs", type(rngs).__name__))
        shared: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "rngs": rngs}
        conv: dict[str, Any] = {
            "use_bias": False, "precision": precision, "kernel_init": kernel_init, **shared,
        }  # fmt: skip
        norm: dict[str, Any] = {
            "momentum": momentum, "epsilon": epsilon, "axis_name": axis_name,
            "use_fast_variance": False, **shared,
        }  # fmt: skip
        width = features[0]
        self.stem = nnx.Conv(in_features, width, (3, 3), **conv)
        found = []
        for out, count, stride, dilation in zip(features, units, strides, dilations, strict=True):
            for i in range(count):
                first = 1 if i else stride
                unit = BasicUnit(
                    width, out, strides=first, kernel_dilation=dilation, conv=conv, norm=norm
                )
                found.append(unit)
                width = out
        self.units = nnx.List(found)
        self.norm = nnx.BatchNorm(width, **norm)
        each = max(1, width // len(self.bins))
        self.pyramid = nnx.List([nnx.Conv(width, each, (1, 1), **conv) for _ in self.bins])
        self.pyramid_norms = nnx.List([nnx.BatchNorm(each, **norm) for _ in self.bins])
        last = max(1, width // 4)
        self.fusion = nnx.Conv(width + each * len(self.bins), last, (3, 3), **conv)
        self.fusion_norm = nnx.BatchNorm(last, **norm)
        self.logits = nnx.Conv(last, 1, (1, 1), **{**conv, "use_bias": True})
        self.in_features = in_features

    def __call__(self, x: jax.typing.ArrayLike) -> jax.Array:
        """Logits of the mask.

        Args:
          x: ``[batch, height, width, in_features]``.

        Returns:
          ``[batch, ceil(height / downsample), ceil(width / downsample)]``.

        Raises:
          ValueError: another rank or other channels.
          TypeError: ``x`` is not floating point.
        """
        x = checks.float_array(NAME, "x", x)
        if x.ndim != 4 or x.shape[-1] != self.in_features or 0 in x.shape:
            wording = f"of shape [batch, height, width, {self.in_features}]"
            raise ValueError(expected(NAME, "x", wording, f"shape {x.shape}"))
        x = nn.max_pool(x, self.downsample)
        y = self.stem(x)
        for unit in self.units:
            y = unit(y)
        y = jax.nn.relu(self.norm(y))
        levels = [y]
        for bins, conv, norm in zip(self.bins, self.pyramid, self.pyramid_norms, strict=True):
            z = jax.nn.relu(norm(conv(_averages(y, bins))))
            levels.append(_interpolated(z, y.shape[1:3]))
        y = jax.nn.relu(self.fusion_norm(self.fusion(jnp.concatenate(levels, -1))))
        return _interpolated(self.logits(y), x.shape[1:3])[..., 0]


NAME = PSPNet.__name__


def _averages(x: jax.Array, bins: int) -> jax.Array:
    """Means over ``bins x bins`` parts; where sizes do not divide, parts share a pixel at their edge."""
    rows, columns = (jnp.asarray(_parts(n, bins), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision="highest")


def _parts(n: int, bins: int) -> np.ndarray:
    weights = np.zeros((bins, n))
    for i in range(bins):
        first, end = i * n // bins, -(-(i + 1) * n // bins)
        weights[i, first:end] = 1 / (end - first)
    return weights


def _interpolated(x: jax.Array, spatial_shape: tuple[int, ...]) -> jax.Array:
    return jax.image.resize(x, (x.shape[0], *spatial_shape, x.shape[-1]), "bilinear")
