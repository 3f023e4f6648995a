"""OctNet3, the networks of ILA-SCNN's experiments (Table 4), sparse and dense from one definition."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import direct, nn
from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse._core.entries import SELECT
from jaxsparse.direct.tensor import check_tensor
from jaxsparse.models import _arguments, octnet3_table
from jaxsparse.models.dense_conv import dense_conv

Activation = direct.SparseTensor | jax.Array

default_kernel_init = nnx.initializers.lecun_normal()


class OctNet3(nnx.Module):
    """Stages of convolutions with ReLU, max pooling by 2 between them, then two fully connected layers.

    ``sparse=True`` builds the convolutions of ``stages`` from :class:`jaxsparse.nn.DirectConv`, ``sparse=False`` the
    dense twin from ``nnx.Conv``: the same parameters under the same names. They agree to rounding at density 1 without
    bias (the sparse network adds biases to active responses only). The convolutions of ``dense_stages`` are ``nnx.Conv``
    in both; volumes are computed as stacks of images on CPUs, where XLA's own convolution is slow (``dense_conv``).

    Args:
      spatial_shape: voxels a dimension of the input.
      classes: number of outputs.
      in_features: channels of the input.
      stages: output channels of the sparse convolutions, stage by stage. Left out together with ``dense_stages``: those
        of Table 4 for ``spatial_shape`` (16³, 24², 28², 32³, 64³, 128³, 256³).
      dense_stages: output channels of the convolutions behind them that are always dense.
      densities: the upper density bound of each sparse stage's convolutions, or the name of a preset: the bounds that
        the paper's appendix gives for this size, see ``octnet3_table.DENSITIES``. Left out: 1, nothing is cut. Ignored
        by the dense twin.
      input_density: the share of the volume that the sparse input may fill; what does not fit is cut by magnitude.
      kernel_size: extent of the kernels in every dimension.
      select: the selection rule; ``"relu"`` is ReLU and selection in one, the others are followed by a ReLU.
      use_bias: whether convolutions have a bias.
      hidden: width of the first fully connected layer.
      dropout: share of features dropped in front of it while training.
      sparse: direct sparse convolutions, or the dense twin.
      dtype: type of the computation.
      param_dtype: type of the parameters.
      kernel_init: initialiser of all kernels.
      rngs: ``nnx.Rngs`` with a ``params`` stream. Dropout's key comes with each call, unless there is a stream named
        ``dropout`` here, too: the network then keeps a fork of it and draws from that.

    Raises:
      ValueError: ``densities`` has not one entry a stage or names no preset for ``spatial_shape``, or ``stages`` is left
        out and Table 4 has no network for it; a stage or the whole has none; a size is below 1, a density not above 0,
        ``dropout`` not in [0, 1], ``select`` unknown.
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: Table 4 of ILA-SCNN: kernel 3, a ReLU behind every convolution, sparse to dense before the fully connected
    layers (16³, 24², 32³) or before the dense stages. Where the paper prints "sparse to dense, max pooling", the pooling
    comes first here, as in the paper's code: behind a ReLU the result is the same and an eighth of the memory does.
    (The paper's code differs in more: no activation behind the first fully connected layer; for MNIST 512 hidden units
    and no dropout.)

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import models

      >>> model = models.OctNet3(
      ...     (16, 16, 16), 40, densities="modelnet40-0.06", hidden=64, rngs=nnx.Rngs(0)
      ... )
      >>> [conv.density_bound for conv in model.convs]
      [0.06, 0.06, 0.06, 0.12, 0.12, 0.12]
      >>> model.eval()
      >>> model(jnp.zeros((2, 16, 16, 16, 1))).shape
      (2, 40)
    """

    def __init__(
        self,
        spatial_shape: Sequence[int],
        classes: int,
        *,
        in_features: int = 1,
        stages: Sequence[Sequence[int]] | None = None,
        dense_stages: Sequence[Sequence[int]] | None = None,
        densities: Sequence[float] | str | None = None,
        input_density: float = 1.0,
        kernel_size: int = 3,
        select: str = "relu",
        use_bias: bool = True,
        hidden: int = 1024,
        dropout: float = 0.5,
        sparse: bool = True,
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        kernel_init: nnx.Initializer = default_kernel_init,
        rngs: nnx.Rngs,
    ):
        spatial_shape = windows.spatial_shape("OctNet3", spatial_shape)
        if stages is None:
            column = octnet3_table.column(spatial_shape)
            stages = column.stages
            dense_stages = column.dense_stages if dense_stages is None else dense_stages
        stages = _arguments.stages("stages", stages)
        dense_stages = _arguments.stages("dense_stages", dense_stages) if dense_stages else ()
        if isinstance(densities, str):
            densities = octnet3_table.densities(densities, spatial_shape, len(stages))
        elif densities is None:
            densities = (1.0,) * len(stages)
        bounds = _arguments.densities(densities, len(stages))
        classes = _arguments.size("classes", classes)
        features = in_features = _arguments.size("in_features", in_features)
        hidden = _arguments.size("hidden", hidden)
        kernel = (_arguments.size("kernel_size", kernel_size),) * len(spatial_shape)
        input_density = capacities.share_of("OctNet3", "input_density", input_density)
        checks.one_of("OctNet3", "select", select, SELECT)
        dropout = checks.number("OctNet3", "dropout", dropout, low=0, high=1)
        if dtype is not None:
            checks.float_dtype("OctNet3", "dtype", dtype)
        checks.float_dtype("OctNet3", "param_dtype", param_dtype)
        checks.function_of("OctNet3", "kernel_init", kernel_init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(checks.expected("OctNet3", "rngs", "nnx.Rngs", type(rngs).__name__))
        shared: dict[str, Any] = {
            "dtype": dtype,
            "param_dtype": param_dtype,
            "kernel_init": kernel_init,
            "rngs": rngs,
        }
        widths = (*stages, *dense_stages)
        convs = []
        for index, stage in enumerate(widths):
            for width in stage:
                if sparse and index < len(stages):
                    conv = nn.DirectConv(
                        features, width, kernel, density=bounds[index], select=select,
                        use_bias=use_bias, **shared,
                    )  # fmt: skip
                else:
                    conv = nnx.Conv(
                        features, width, kernel, use_bias=use_bias,
                        conv_general_dilated=dense_conv, **shared,
                    )  # fmt: skip
                convs.append(conv)
                features = width
        shape = spatial_shape
        for _ in widths[1:]:
            shape = tuple(-(-n // 2) for n in shape)
        self.convs = nnx.List(convs)
        # Not the default stream: state that changes with every call is not for those who did not ask for it.
        self.dropout = nnx.Dropout(dropout, rngs=rngs if "dropout" in rngs else None)
        self.hidden = nnx.Linear(math.prod(shape) * features, hidden, **shared)
        self.logits = nnx.Linear(hidden, classes, **shared)

        self.spatial_shape = spatial_shape
        self.in_features = in_features
        self.stage_lengths = tuple(len(stage) for stage in widths)
        self.sparse_stages = len(stages)
        self.input_density = input_density
        self.select = select
        self.sparse = sparse

    def __call__(self, x: Activation, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Class scores of a batch.

        Args:
          x: array ``[batch, *spatial_shape, in_features]``, or a ``SparseTensor`` (sparse networks only).
          rngs: ``nnx.Rngs`` with a ``dropout`` stream; needed unless the model is in evaluation mode or has its own.

        Returns:
          Logits ``[batch, classes]``.
        """
        return self.head(list(self.activations(x).values())[-1], rngs=rngs)

    def activations(self, x: Activation) -> dict[str, Any]:
        """Every layer's output in order, the network's input first: ``input``, ``conv1``, ..., ``pool1``, ...

        Args:
          x: array ``[batch, *spatial_shape, in_features]``, or a ``SparseTensor`` (sparse networks only).

        Returns:
          ``SparseTensor`` values for the sparse stages of a sparse network, arrays for the rest and for its dense twin.

        Raises:
          ValueError: the spatial shape is not the network's.
          TypeError: a ``SparseTensor`` was given to a dense twin.
        """
        outputs: dict[str, Any] = {"input": self._as_input(x)}
        y = outputs["input"]
        convs = iter(self.convs)
        number = 0
        for stage, length in enumerate(self.stage_lengths):
            if stage:
                y = _halve(y)
                if stage == self.sparse_stages:
                    y = nn.to_dense(y)
                outputs[f"pool{stage}"] = y
            for _ in range(length):
                number += 1
                y = next(convs)(y)
                if not (self.select == "relu" and isinstance(y, direct.SparseTensor)):
                    y = nn.relu(y)
                outputs[f"conv{number}"] = y
        return outputs

    def head(self, x: Activation, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """The dense end of the network: ``[batch, classes]`` from the last layer's activation.

        Raises:
          ValueError: ``x`` has not the last layer's shape, or ``rngs`` is left out in training mode and the network has no
            stream of its own.
        """
        dense = nn.to_dense(x)
        features = self.hidden.in_features
        if dense.ndim < 2 or math.prod(dense.shape[1:]) != features:
            wording = f"of {features} features a batch element"
            raise ValueError(checks.expected("OctNet3", "x", wording, f"shape {dense.shape}"))
        own = self.dropout.rngs is not None or self.dropout.rate == 0
        if rngs is None and not own and not self.dropout.deterministic:
            wording = "nnx.Rngs with a dropout stream in training mode, here or in the constructor"
            raise ValueError(checks.expected("OctNet3", "rngs", wording, rngs))
        features = self.dropout(dense.reshape(len(dense), -1), rngs=rngs)
        return self.logits(jax.nn.relu(self.hidden(features)))

    def _as_input(self, x: Activation) -> Activation:
        if isinstance(x, direct.SparseTensor):
            if not self.sparse:
                wording = "an array for the dense twin"
                raise TypeError(checks.expected("OctNet3", "x", wording, "a SparseTensor"))
            check_tensor("OctNet3", "x", x)
        else:
            x = checks.float_array("OctNet3", "x", x)
        shape = tuple(x.shape)
        if len(shape) < 3 or shape[1:] != (*self.spatial_shape, self.in_features):
            sizes = ", ".join(map(str, (*self.spatial_shape, self.in_features)))
            wording = f"of shape [batch, {sizes}]"
            raise ValueError(checks.expected("OctNet3", "x", wording, f"shape {shape}"))
        if self.sparse and not isinstance(x, direct.SparseTensor):
            return direct.SparseTensor.from_dense(x, density=self.input_density, select="magnitude")
        return x


def _halve(x: Activation) -> Activation:
    """Max pooling by 2, its capacity not larger than what is left of the volume."""
    if not isinstance(x, direct.SparseTensor):
        return nn.max_pool(x, 2)
    volume = math.prod(-(-n // 2) for n in x.spatial_shape)
    return nn.max_pool(x, 2, capacity=min(x.capacity, volume))


def octnet3_24(
    image_size: int = 28,
    classes: int = 10,
    *,
    rho1: float = 1.0,
    rho2: float | None = None,
    rngs: nnx.Rngs,
    **options: Any,
) -> OctNet3:
    """OctNet3-24², ILA-SCNN's network for MNIST: 8, 8, 8, pool, 16, 16, 16 channels.

    Args:
      image_size: 28 for whole MNIST images (what the paper's code ran), 24 for their centre (what it is named after).
      classes: number of outputs.
      rho1: density bound of the first stage.
      rho2: density bound of the second stage; ``min(1, 2 * rho1)``, as in the paper, if left out.
      rngs: ``nnx.Rngs`` with a ``params`` stream.
      **options: passed on to :class:`OctNet3`.

    Returns:
      The model.

    Raises:
      ValueError, TypeError: as :class:`OctNet3`.

    >>> from flax import nnx
    >>> from jaxsparse import models
    >>> model = models.octnet3_24(rho1=0.05, rngs=nnx.Rngs(0))
    >>> [conv.density_bound for conv in model.convs]
    [0.05, 0.05, 0.05, 0.1, 0.1, 0.1]
    """
    name = "octnet3_24"
    image_size = checks.integer(name, "image_size", image_size, minimum=1)
    rho1 = capacities.share_of(name, "rho1", rho1)
    second = min(1.0, 2 * rho1) if rho2 is None else capacities.share_of(name, "rho2", rho2)
    # Any image size goes: the tests and the curious want others than 24 and 28.
    options = {"stages": octnet3_table.TABLE_4[24, 24].stages, **options}
    return OctNet3(
        (image_size, image_size), classes, densities=(rho1, second), rngs=rngs, **options
    )
