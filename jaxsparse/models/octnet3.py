"""OctNet3, the networks of ILA-SCNN's experiments (Table 4), sparse and dense from one definition."""

import math
import numbers
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

Activation = direct.SparseTensor | jax.Array

default_kernel_init = nnx.initializers.lecun_normal()


class OctNet3(nnx.Module):
    """Stages of convolutions with ReLU, max pooling by 2 between them, then two fully connected layers.

    ``sparse=True`` builds the convolutions from :class:`jaxsparse.nn.DirectConv`, ``sparse=False`` the dense twin from
    ``nnx.Conv``: the same parameters under the same names. They agree to rounding at density 1 without bias (the
    sparse network adds biases to active responses only).

    Args:
      spatial_shape: voxels a dimension of the input.
      classes: number of outputs.
      in_features: channels of the input.
      stages: output channels of the convolutions, stage by stage.
      densities: the upper density bound of each stage's convolutions; ignored by the dense twin.
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
      rngs: ``nnx.Rngs`` with a ``params`` stream. Dropout's key comes with each call.

    Raises:
      ValueError: ``densities`` has not one entry a stage; a stage or the whole has none; a size is below 1, a density
        not above 0, ``dropout`` not in [0, 1], ``select`` unknown.
      TypeError: not an integer, not a number, not a floating point type, not a function.

    Source: Table 4 of ILA-SCNN (its code's MNIST network differs: 512 hidden units, no dropout).

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import models

      >>> model = models.OctNet3(
      ...     (8, 8, 8), 40, densities=(0.06, 0.12), hidden=64, rngs=nnx.Rngs(0)
      ... )
      >>> model.eval()
      >>> model(jnp.zeros((2, 8, 8, 8, 1))).shape
      (2, 40)
    """

    def __init__(
        self,
        spatial_shape: Sequence[int],
        classes: int,
        *,
        in_features: int = 1,
        stages: Sequence[Sequence[int]] = ((8, 8, 8), (16, 16, 16)),
        densities: Sequence[float] = (1.0, 1.0),
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
        classes = _size("classes", classes)
        in_features = _size("in_features", in_features)
        hidden = _size("hidden", hidden)
        stages = _stages(stages)
        densities = _densities(densities, len(stages))
        input_density = capacities.share_of("OctNet3", "input_density", input_density)
        kernel = (_size("kernel_size", kernel_size),) * len(spatial_shape)
        checks.one_of("OctNet3", "select", select, SELECT)
        _check_dropout(dropout)
        if dtype is not None:
            checks.float_dtype("OctNet3", "dtype", dtype)
        checks.float_dtype("OctNet3", "param_dtype", param_dtype)
        checks.function_of("OctNet3", "kernel_init", kernel_init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(checks.expected("OctNet3", "rngs", "nnx.Rngs", type(rngs).__name__))
        shared: dict[str, Any] = {
            "use_bias": use_bias,
            "dtype": dtype,
            "param_dtype": param_dtype,
            "kernel_init": kernel_init,
        }
        convs = []
        shape, features = spatial_shape, in_features
        for index, (widths, density) in enumerate(zip(stages, densities, strict=True)):
            if index:
                shape = tuple(-(-n // 2) for n in shape)
            for width in widths:
                if sparse:
                    conv = nn.DirectConv(
                        features, width, kernel, density=density, select=select, **shared, rngs=rngs
                    )
                else:
                    conv = nnx.Conv(features, width, kernel, **shared, rngs=rngs)
                convs.append(conv)
                features = width
        dense: dict[str, Any] = {
            "dtype": dtype,
            "param_dtype": param_dtype,
            "kernel_init": kernel_init,
        }
        self.convs = nnx.List(convs)
        self.dropout = nnx.Dropout(dropout)
        self.hidden = nnx.Linear(math.prod(shape) * features, hidden, **dense, rngs=rngs)
        self.logits = nnx.Linear(hidden, classes, **dense, rngs=rngs)

        self.spatial_shape = spatial_shape
        self.in_features = in_features
        self.stage_lengths = tuple(len(widths) for widths in stages)
        self.input_density = input_density
        self.select = select
        self.sparse = sparse

    def __call__(self, x: Activation, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """Class scores of a batch.

        Args:
          x: array ``[batch, *spatial_shape, in_features]``, or a ``SparseTensor`` (sparse networks only).
          rngs: ``nnx.Rngs`` with a ``dropout`` stream; needed unless the model is in evaluation mode.

        Returns:
          Logits ``[batch, classes]``.
        """
        return self.head(list(self.activations(x).values())[-1], rngs=rngs)

    def activations(self, x: Activation) -> dict[str, Any]:
        """Every layer's output in order, the network's input first: ``input``, ``conv1``, ..., ``pool1``, ...

        Args:
          x: array ``[batch, *spatial_shape, in_features]``, or a ``SparseTensor`` (sparse networks only).

        Returns:
          ``SparseTensor`` values for a sparse network, arrays for its dense twin.

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
                y = outputs[f"pool{stage}"] = nn.max_pool(y, 2)
            for _ in range(length):
                number += 1
                y = next(convs)(y)
                if not (self.sparse and self.select == "relu"):
                    y = nn.relu(y)
                outputs[f"conv{number}"] = y
        return outputs

    def head(self, x: Activation, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        """The dense end of the network: ``[batch, classes]`` from the last layer's activation.

        Raises:
          ValueError: ``x`` has not the last layer's shape, or ``rngs`` is left out in training mode.
        """
        dense = nn.to_dense(x)
        features = self.hidden.in_features
        if dense.ndim < 2 or math.prod(dense.shape[1:]) != features:
            wording = f"of {features} features a batch element"
            raise ValueError(checks.expected("OctNet3", "x", wording, f"shape {dense.shape}"))
        if rngs is None and self.dropout.rate > 0 and not self.dropout.deterministic:
            wording = "nnx.Rngs with a dropout stream in training mode"
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


def _size(argument: str, value: Any) -> int:
    return checks.integer("OctNet3", argument, value, minimum=1)


def _stages(value: Any) -> tuple[tuple[int, ...], ...]:
    wording = "a sequence of stages, each a sequence of at least one width"
    is_sequence = checks.is_sequence(value) and all(map(checks.is_sequence, value))
    if not is_sequence or any(isinstance(stage, str) for stage in (value, *value)):
        raise TypeError(checks.expected("OctNet3", "stages", wording, repr(value)))
    if not len(value) or not all(map(len, value)):
        raise ValueError(checks.expected("OctNet3", "stages", wording, repr(value)))
    return tuple(
        tuple(_size(f"stages[{i}][{j}]", width) for j, width in enumerate(stage))
        for i, stage in enumerate(value)
    )


def _densities(value: Any, stages: int) -> tuple[float, ...]:
    wording = f"a sequence of {stages} densities, one a stage"
    if not checks.is_sequence(value) or isinstance(value, str):
        raise TypeError(checks.expected("OctNet3", "densities", wording, repr(value)))
    if len(value) != stages:
        raise ValueError(checks.expected("OctNet3", "densities", wording, tuple(value)))
    return tuple(
        capacities.share_of("OctNet3", f"densities[{i}]", density)
        for i, density in enumerate(value)
    )


def _check_dropout(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(checks.expected("OctNet3", "dropout", "a number", checks.described(value)))
    if not 0 <= float(value) <= 1:
        raise ValueError(checks.expected("OctNet3", "dropout", "in [0, 1]", value))


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
    return OctNet3(
        (image_size, image_size), classes, densities=(rho1, second), rngs=rngs, **options
    )
