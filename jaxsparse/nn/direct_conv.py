"""Direct sparse convolution as a Flax layer."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxsparse import direct
from jaxsparse._core import capacity as capacities
from jaxsparse._core import checks, windows
from jaxsparse._core.entries import SELECT
from jaxsparse.direct.tensor import check_tensor
from jaxsparse.nn.arguments import hashable, kernel_size_of
from jaxsparse.nn.channels import place_channels, take_channels
from jaxsparse.nn.observe import notify
from jaxsparse.nn.variables import Density, PruningMask, assign

Ints = int | tuple[int, ...] | list[int]

default_kernel_init = nnx.initializers.lecun_normal()
default_bias_init = nnx.initializers.zeros_init()


class DirectConv(nnx.Module):
    """Direct sparse convolution of ILA-SCNN: sparse activations, sparse filters, a bound on every channel's density.

    The keyword order is that of ``flax.nnx.Conv`` and so is the kernel, ``[*kernel_size, in_features, out_features]``:
    weights trained there drop in unchanged. The meaning is that of :func:`jaxsparse.direct.conv`: the bias goes to
    active responses only, and every (batch element, output channel) keeps its ``capacity`` strongest responses.

    In training mode every call writes the measured density to ``self.density``, as ``nnx.BatchNorm`` writes its
    statistics: call the layer under ``nnx.jit`` or split and merge it (in ``jax.grad`` within ``jax.jit`` by
    ``nnx.merge(..., copy=True)``, as all of Flax's layers with statistics). After ``model.eval()`` (or with
    ``use_running_average = True``) it writes nothing and may be closed over by any JAX transformation.

    The density is the mean over the batch that the call sees. Inside ``shard_map`` that is the device's part: take
    ``jax.lax.pmean`` of ``layer.density[...]`` over the mesh axis before the layer's state leaves (parts of equal size
    have the mean of the whole). Under automatic partitioning the mean is over the whole batch.

    Args:
      in_features: number of input channels.
      out_features: number of output channels.
      kernel_size: extent of the kernel; an integer means one spatial dimension.
      strides: an integer or one for each spatial dimension.
      padding: ``"SAME"``, ``"VALID"``, an integer, or for each dimension an integer or a ``(low, high)`` pair.
      kernel_dilation: an integer or one for each spatial dimension.
      use_bias: whether to add a bias to active responses.
      mask: bool array of the kernel's shape, ``False`` = pruned; all alive if left out. Held as :class:`PruningMask`.
      capacity: entries an output channel may store. At most one of ``capacity`` and ``density`` may be given; with
        neither nothing is ever cut.
      density: the same as a share of the output volume, ``ceil(density * volume - 1e-6)`` entries.
      select: ``"value"``, ``"magnitude"`` or ``"relu"``: which responses are kept.
      dtype: the type of the computation (default: inferred from input and parameters).
      param_dtype: the type of kernel and bias.
      kernel_init: initialiser of the kernel.
      bias_init: initialiser of the bias.
      rngs: ``nnx.Rngs`` with a ``params`` stream.

    Raises:
      ValueError: a size, stride or dilation is below 1, ``kernel_size`` has not 1 to 4 numbers or the others not as
        many, ``padding`` or ``select`` is unknown, ``mask`` has not the kernel's shape, ``capacity`` or ``density`` is 0
        or both are given.
      TypeError: not an integer, not a floating point type, not a function, ``mask`` is not bool.

    Example usage::

      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from jaxsparse import direct, nn

      >>> image = jnp.zeros((1, 28, 28, 1)).at[0, 4:24, 14, 0].set(1.0)
      >>> x = direct.SparseTensor.from_dense(image, density=0.1)
      >>> layer = nn.DirectConv(1, 8, (3, 3), density=0.05, select="relu", rngs=nnx.Rngs(0))
      >>> y = layer(x)
      >>> y.keys.shape, y.spatial_shape
      ((1, 8, 40), (28, 28))
      >>> layer.density[...].shape
      (8,)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        kernel_size: int | Sequence[int],
        strides: Ints = 1,
        *,
        padding: windows.Padding = "SAME",
        kernel_dilation: Ints = 1,
        use_bias: bool = True,
        mask: jax.Array | None = None,
        capacity: int | None = None,
        density: float | None = None,
        select: str = "value",
        dtype: Any | None = None,
        param_dtype: Any = jnp.float32,
        kernel_init: nnx.Initializer = default_kernel_init,
        bias_init: nnx.Initializer = default_bias_init,
        rngs: nnx.Rngs,
    ):
        name = "DirectConv"
        in_features = checks.integer(name, "in_features", in_features, minimum=1)
        out_features = checks.integer(name, "out_features", out_features, minimum=1)
        kernel_size = kernel_size_of(name, kernel_size)
        windows.sliding(name, len(kernel_size), strides, padding, kernel_dilation)
        capacity, density = capacities.check(name, capacity, density)
        checks.one_of(name, "select", select, SELECT)
        if dtype is not None:
            checks.float_dtype(name, "dtype", dtype)
        checks.float_dtype(name, "param_dtype", param_dtype)
        for argument, init in (("kernel_init", kernel_init), ("bias_init", bias_init)):
            checks.function_of(name, argument, init, "(key, shape, dtype) -> array")
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(checks.expected(name, "rngs", "nnx.Rngs", type(rngs).__name__))
        kernel_shape = (*kernel_size, in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), kernel_shape, param_dtype))
        self.bias = (
            nnx.Param(bias_init(rngs.params(), (out_features,), param_dtype))
            if use_bias
            else nnx.data(None)
        )
        # Always an array: pruning writes into it without changing the structure of the model's state.
        self.mask = PruningMask(_checked_mask(mask, kernel_shape))
        self.density = Density(jnp.zeros((out_features,), jnp.float32))

        self.in_features = in_features
        self.out_features = out_features
        self.kernel_size = kernel_size
        self.strides = hashable(strides)
        self.padding = hashable(padding)
        self.kernel_dilation = hashable(kernel_dilation)
        self.use_bias = use_bias
        self.capacity = capacity
        self.density_bound = density
        self.select = select
        self.dtype = dtype
        self.param_dtype = param_dtype
        # What `compact` left of the kernel: which channels of x it reads, which of the outputs it makes. None: all.
        self.channels_read: tuple[int, ...] | None = None
        self.channels_made: tuple[int, ...] | None = None
        self.use_running_average = False  # the name that nnx's train() and eval() set

    def __call__(self, x: direct.SparseTensor) -> direct.SparseTensor:
        """Convolves ``x`` and, in training mode, records the density that was found.

        Args:
          x: a ``SparseTensor`` with ``in_features`` channels and ``len(kernel_size)`` spatial dimensions.

        Returns:
          A ``SparseTensor`` with ``out_features`` channels and the layer's capacity.

        Raises:
          TypeError: ``x`` is not a ``SparseTensor``.
          ValueError: its rank or channels do not fit the kernel, or the capacity is 0.
        """
        if not isinstance(x, direct.SparseTensor):
            what = f"{checks.kind(x)}; direct.SparseTensor.from_dense(x, density=...) makes one"
            raise TypeError(checks.expected("DirectConv", "x", "a direct.SparseTensor", what))
        check_tensor("DirectConv", "x", x)
        given = x
        if self.channels_read is not None:
            if x.channels != self.in_features:
                wording = f"of {self.in_features} channels"
                raise ValueError(checks.expected("DirectConv", "x", wording, x.channels))
            x = take_channels(x, self.channels_read)
        kernel = self.kernel[...]
        bias = self.bias[...] if self.bias is not None else None
        floats = [x.values, kernel] if bias is None else [x.values, kernel, bias]
        dtype = jnp.result_type(*floats) if self.dtype is None else self.dtype
        y = direct.conv(
            x.replace(values=x.values.astype(dtype)),
            kernel.astype(dtype),
            None if bias is None else bias.astype(dtype),
            mask=self.mask[...],
            capacity=self.capacity,
            density=self.density_bound,
            select=self.select,
            strides=self.strides,
            padding=self.padding,
            kernel_dilation=self.kernel_dilation,
        )
        if not self.use_running_average and y.nnz.shape[0]:  # an empty batch tells nothing
            share = y.nnz.astype(jnp.float32) / math.prod(y.spatial_shape)
            assign(self.density, jnp.mean(share, axis=0))
        if self.channels_made is not None:
            y = place_channels(y, self.channels_made, self.out_features)
        return notify(self, given, y)

    def set_view(self, use_running_average: bool | None = None):
        """Class method used by ``nnx.view``.

        Args:
          use_running_average: if True, the measured density stays as it is.
        """
        if use_running_average is not None:
            self.use_running_average = use_running_average


def _checked_mask(mask: jax.Array | None, kernel_shape: tuple[int, ...]) -> jax.Array:
    if mask is None:
        return jnp.ones(kernel_shape, jnp.bool_)
    checked = checks.array("DirectConv", "mask", mask)
    if checked.dtype != jnp.bool_:
        raise TypeError(checks.expected("DirectConv", "mask", "of dtype bool", checked.dtype))
    checks.shape("DirectConv", "mask", checked, kernel_shape, "the kernel's")
    return checked
