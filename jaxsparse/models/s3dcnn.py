"""S3DCNN (Notchenko, Kapushev and Burnaev, 2016): a deep, spatially sparse network for shapes in a large field."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import nn, voxel
from jaxsparse._core import checks
from jaxsparse._core.checks import expected
from jaxsparse.models import _arguments
from jaxsparse.models.s3dcnn_table import densities_of
from jaxsparse.voxel.tensor import check_tensor

KERNEL, WINDOW, STRIDE = 2, 3, 2
"""Every convolution is 2 wide at stride 1, every pooling 3 wide at stride 2, none pads."""


class S3DCNN(nnx.Module):
    """The network of S3DCNN's Table 1: blocks of convolution, leaky ReLU and max pooling, and a last convolution.

    Convolutions are 2 wide and max poolings 3 wide at stride 2, without padding, so that the field is a cube whose size
    follows from the depth alone: 126 for the five blocks of the paper, 2, 6, 14, 30, 62 for fewer. Level ``i`` has ``width * (i
    + 1)`` channels, so the paper's embedding has 192. With a ground state, the default, the result is that of the dense network
    on the volume filled with the background, to rounding (and as long as no capacity cuts).

    Every call builds the kernel maps of all levels once (:func:`jaxsparse.nn.voxel_plan`).

    Args:
      classes: outputs of a linear layer behind the embedding; None: there is none.
      in_features: channels of the input.
      dims: spatial dimensions, 1 to 4.
      depth: blocks.
      width: channels of the first level.
      slope: of the leaky ReLU.
      dropout: the rate at the last convolution; level ``i`` drops ``dropout * i / depth`` of its input channels, whole
        columns.
      densities: bounds of ``2 * depth`` levels, the convolutions and poolings in turn, as shares of all voxels of the
        batch; or the name of a preset in :data:`S3DCNN_DENSITIES`. None: nothing is ever cut, for memory of the dense
        network's order.
      ground_state: whether an input without background gets one of zeros. Without ground state inactive sites take no
        part in poolings and have no bias.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of the parameters.
      precision: as in ``lax.conv_general_dilated``.
      kernel_init: initialiser of the kernels; None: that of the paper's code, uniform in ``+-sqrt(6 / (taps * in + a *
        out))`` with ``a`` 1, and 4 at the last convolution.
      rngs: ``nnx.Rngs`` with a ``params`` stream. With a ``dropout`` stream, too, the network keeps a fork of it and draws
        from that; otherwise one has to come with each call in training mode.

    Raises:
      ValueError: sizes below 1, ``densities`` of the wrong number or an unknown preset, ``dropout`` not in [0, 1].
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: the paper's Table 1 and its code, which rounds channels to multiples of 32.

    Example usage::

      >>> import jax
      >>> from flax import nnx
      >>> from jaxsparse import models, voxel

      >>> model = models.S3DCNN(depth=2, width=8, rngs=nnx.Rngs(0))
      >>> model.field, model.features
      (14, 24)
      >>> x = voxel.VoxelTensor.from_coords(
      ...     [[0, 4, 5, 6], [1, 7, 7, 7]], [[1.0], [1.0]], batch_size=2, spatial_shape=(14,) * 3
      ... )
      >>> model(x).shape
      (2, 24)
    """

    def __init__(
        self,
        classes: int | None = None,
        *,
        in_features: int = 1,
        dims: int = 3,
        depth: int = 5,
        width: int = 32,
        slope: float = 0.33,
        dropout: float = 0.0,
        densities: Sequence[float] | str | None = None,
        ground_state: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        precision: Any = None,
        kernel_init: nnx.Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        name = "S3DCNN"
        if classes is not None:
            classes = checks.integer(name, "classes", classes, minimum=1)
        features = in_features = checks.integer(name, "in_features", in_features, minimum=1)
        dims = checks.integer(name, "dims", dims, minimum=1)
        depth = checks.integer(name, "depth", depth, minimum=1)
        width = checks.integer(name, "width", width, minimum=1)
        slope = checks.number(name, "slope", slope)
        dropout = checks.number(name, "dropout", dropout, low=0, high=1)
        bounds = _bounds(densities, depth)
        if not isinstance(ground_state, bool):
            what = checks.described(ground_state)
            raise TypeError(expected(name, "ground_state", "True or False", what))
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        shared: dict[str, Any] = {
            "padding": "VALID",
            "dtype": dtype,
            "param_dtype": param_dtype,
            "precision": precision,
            "rngs": rngs,
        }
        convs, pools, drops = [], [], []
        for level in range(depth + 1):
            last = level == depth
            out = width * (level + 1)
            init = _paper_init(4 if last else 1) if kernel_init is None else kernel_init
            bound = None if last else bounds[2 * level]
            size = (KERNEL,) * dims
            convs.append(
                nn.VoxelConv(features, out, size, density=bound, kernel_init=init, **shared)
            )
            rate = dropout * level / depth
            own = rngs if rate > 0 and "dropout" in rngs else None
            drops.append(nn.Dropout(rate, broadcast_dims=(0,), rngs=own))
            if not last:
                bound = bounds[2 * level + 1]
                pools.append(nn.VoxelMaxPool((WINDOW,) * dims, STRIDE, density=bound))
            features = out
        self.convs = nnx.List(convs)
        self.pools = nnx.List(pools)
        self.dropouts = nnx.List(drops)
        linear = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision, "rngs": rngs}
        self.logits = nnx.data(None) if classes is None else nnx.Linear(features, classes, **linear)
        self.in_features = in_features
        self.features = features
        self.field = field_size(depth)
        self.dims = dims
        self.slope = slope
        self.ground_state = ground_state

    def __call__(self, x: voxel.VoxelTensor, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Class scores of a batch, or its embedding where the network has no classes.

        Args:
          x: ``VoxelTensor`` ``[batch, *(field,) * dims, in_features]``.
          rngs: ``nnx.Rngs`` with a ``dropout`` stream; needed in training mode if there is dropout and the network has no
            stream of its own.

        Returns:
          ``[batch, classes]``, or ``[batch, features]``.
        """
        embedding = self.embed(x, rngs=rngs)
        return embedding if self.logits is None else self.logits(embedding)

    def embed(self, x: voxel.VoxelTensor, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """What shapes are compared by, ``[batch, features]``: the last convolution behind its leaky ReLU (layer 17)."""
        last = self.activations(x, rngs=rngs)[f"conv{len(self.convs)}"]
        return last.to_dense().reshape(x.batch_size, self.features)

    def activations(
        self, x: voxel.VoxelTensor, *, rngs: nnx.Rngs | None = None
    ) -> dict[str, voxel.VoxelTensor]:
        """Every level in order: ``input``, ``conv1`` (behind its leaky ReLU), ``pool1``, ...

        Raises:
          ValueError: ``x`` has another spatial shape or other channels, or ``rngs`` is needed.
          TypeError: ``x`` is no ``VoxelTensor``.
        """
        check_tensor("S3DCNN", "x", x)
        wanted = (*(self.field,) * self.dims, self.in_features)
        if x.shape[1:] != wanted:
            sizes = ", ".join(map(str, wanted))
            wording = f"of shape [batch, {sizes}]"
            raise ValueError(expected("S3DCNN", "x", wording, f"shape {x.shape}"))
        if self.ground_state and x.background is None:
            x = x.replace(background=jnp.zeros(x.channels, x.dtype))
        layers = [self.convs[0]]
        for pool, conv in zip(self.pools, list(self.convs)[1:], strict=True):
            layers += [pool, conv]
        maps = nn.voxel_plan(x, layers)
        outputs = {"input": x}
        for level, conv in enumerate(self.convs):
            if level:
                x = self.pools[level - 1](x, plan=maps[2 * level - 1])
                outputs[f"pool{level}"] = x
            x = self.dropouts[level](x, rngs=rngs)
            x = nn.leaky_relu(conv(x, plan=maps[2 * level]), self.slope)
            outputs[f"conv{level + 1}"] = x
        return outputs


def field_size(depth: int) -> int:
    """The side of the field that a network of so many blocks sees, computed backwards from one voxel.

    >>> from jaxsparse.models.s3dcnn import field_size
    >>> [field_size(depth) for depth in range(6)]
    [2, 6, 14, 30, 62, 126]
    """
    size = KERNEL
    for _ in range(depth):
        size = (size - 1) * STRIDE + WINDOW + KERNEL - 1
    return size


def _bounds(value: Any, depth: int) -> Sequence[float | None]:
    if value is None:
        return (None,) * (2 * depth)
    if isinstance(value, str):
        return densities_of(value, depth)
    return _arguments.level_densities("S3DCNN", value, 2 * depth)


def _paper_init(out_share: int) -> nnx.Initializer:
    """Uniform in ``+-sqrt(6 / (taps * in + out_share * out))``: ``out_share`` is (kernel / stride / stride of the pooling)^2."""

    def init(key: Any, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None) -> jax.Array:
        *taps, inputs, outputs = shape
        limit = math.sqrt(6 / (math.prod(taps) * inputs + out_share * outputs))
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init
